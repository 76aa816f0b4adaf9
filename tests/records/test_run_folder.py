"""A run's folder: every way to be cut off, and every way to be damaged."""

import json

import pytest
from conftest import scored_by

from tenas_jax.errors import InputError
from tenas_jax.records.run_folder import RunFolder
from tenas_jax.search import strategies
from tenas_jax.spaces.nasbench201 import NAS_BENCH_201
from tenas_jax.spaces.single_input import PRESETS

ROUNDS = [{"round": number, "pruned": [[0, number, 1]], "text": "é"} for number in range(4)]


def filled(path):
    folder = RunFolder(path, {"seed": 0, "path": None})
    for record in ROUNDS:
        folder.append(record)
    return (path / "rounds.jsonl").read_bytes()


def test_every_cut_keeps_the_complete_lines(tmp_path):
    content = filled(tmp_path)
    for cut in range(len(content) + 1):
        (tmp_path / "rounds.jsonl").write_bytes(content[:cut])
        complete = content[:cut].count(b"\n")
        folder = RunFolder(tmp_path, {"path": None, "seed": 0})
        assert folder.rounds == ROUNDS[:complete]
        assert folder.result() is None
        for record in ROUNDS[complete:]:
            folder.append(record)
        assert (tmp_path / "rounds.jsonl").read_bytes() == content


@pytest.mark.parametrize("damage", [b"\x00\x00\n", b"\xff\xfe{}\n", b"{}{}\n", b"null\n", b"3\n"])
def test_what_follows_a_damaged_line_is_taken_again(tmp_path, damage):
    lines = filled(tmp_path).splitlines(keepends=True)
    (tmp_path / "rounds.jsonl").write_bytes(b"".join([*lines[:2], damage, *lines[3:]]))
    assert RunFolder(tmp_path, {"seed": 0, "path": None}).rounds == ROUNDS[:2]
    assert (tmp_path / "rounds.jsonl").read_bytes() == b"".join(lines[:2])


def test_missing_rounds_and_left_over_files(tmp_path):
    filled(tmp_path)
    (tmp_path / "rounds.jsonl").unlink()
    (tmp_path / ".result.json.123").write_text("{")  # a kill between writing and renaming
    folder = RunFolder(tmp_path, {"seed": 0, "path": None})
    assert folder.rounds == []
    assert folder.result() is None
    folder.finish({"architecture": "a"})
    assert RunFolder(tmp_path, {"seed": 0, "path": None}).result() == {"architecture": "a"}


def test_another_configuration_is_refused_and_nothing_lost(tmp_path):
    content = filled(tmp_path)
    for config, differing in (({"seed": 1, "path": None}, "seed"), ({"seed": 0}, None), ({"seed": 0, "new": 2}, "new")):
        if differing is None:
            RunFolder(tmp_path, config)  # a field without a value is a field that is not there
            continue
        with pytest.raises(InputError, match=f"another configuration .*{differing}"):
            RunFolder(tmp_path, config)
    assert (tmp_path / "rounds.jsonl").read_bytes() == content


@pytest.mark.parametrize("content", ["", "{", "[1]", "7", "\udcff"])
def test_damaged_files_are_named(tmp_path, content):
    filled(tmp_path)
    damaged = content.encode(errors="surrogateescape")
    (tmp_path / "result.json").write_bytes(damaged)
    with pytest.raises(InputError, match=r"result\.json is damaged"):
        RunFolder(tmp_path, {"seed": 0, "path": None}).result()
    (tmp_path / "config.json").write_bytes(damaged)
    with pytest.raises(InputError, match=r"config\.json is damaged"):
        RunFolder(tmp_path, {"seed": 0, "path": None})


@pytest.mark.parametrize("preset", ["default", "released"])
def test_a_search_resumes_from_every_prefix(tmp_path, rng, preset, capsys):
    indicators = [
        scored_by("condition_number", True, rng.normal(size=(6, 5))),
        scored_by("linear_regions", False, rng.normal(size=(6, 5))),
    ]

    def searched(folder):
        return strategies.prune_in_folder(3, NAS_BENCH_201, indicators, PRESETS[preset], RunFolder(folder, {}))

    def records(folder):
        rounds = [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]
        return [{key: value for key, value in record.items() if key != "seconds"} for record in rounds]

    architecture = searched(tmp_path / "whole")
    lines = (tmp_path / "whole" / "rounds.jsonl").read_bytes().splitlines(keepends=True)
    assert len(lines) == (18 if preset == "default" else 3)
    for number in range(len(lines)):
        for extra in (0, len(lines[number]) // 2, len(lines[number]) - 1):
            folder = tmp_path / f"{number}-{extra}"
            folder.mkdir()
            (folder / "rounds.jsonl").write_bytes(b"".join(lines[:number]) + lines[number][:extra])
            (folder / "config.json").write_text("{}")
            assert searched(folder) == architecture
            assert records(folder) == records(tmp_path / "whole")
    assert capsys.readouterr().out == ""
