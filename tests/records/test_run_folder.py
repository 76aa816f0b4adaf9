"""A run's folder: every way to be cut off, and every way to be damaged."""

import json
import shutil

import numpy as np
import pytest
from conftest import scored_by

from tenas_jax.errors import InputError
from tenas_jax.records import seal
from tenas_jax.records.run_folder import RunFolder
from tenas_jax.search import strategies
from tenas_jax.spaces.nasbench201 import NAS_BENCH_201
from tenas_jax.spaces.single_input import PRESETS

ROUNDS = [{"round": number, "pruned": [[0, number, 1]], "text": "é"} for number in range(4)]
CONFIG = {"seed": 0, "path": None}
RESULT = {"architecture": "a", "strategy": "prune", "config": {}, "rounds": 4, "evaluations": 3}


def filled(path, finish=False):
    with RunFolder(path, CONFIG) as folder:
        for record in ROUNDS:
            folder.append(record)
        if finish:
            folder.finish(RESULT)
    return (path / "rounds.jsonl").read_bytes()


def opened(path, config=CONFIG, environment=None):
    """Rounds, result and named damage of a folder."""
    with RunFolder(path, config, environment) as folder:
        return folder.rounds, folder.result(), folder.damage


def records(folder):
    """What a journal says, but for seconds and checksums."""
    rounds = [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]
    return [{key: value for key, value in r.items() if key not in ("seconds", "spent", "sha256")} for r in rounds]


def test_every_cut_keeps_the_complete_lines(tmp_path):
    content = filled(tmp_path)
    whole = records(tmp_path)
    for cut in range(0, len(content) + 1, 11):
        (tmp_path / "rounds.jsonl").write_bytes(content[:cut])
        complete = content[:cut].count(b"\n")
        with RunFolder(tmp_path, {"path": None, "seed": 0}) as folder:
            assert folder.rounds == ROUNDS[:complete]
            assert folder.damage == []
            assert folder.result() is None
            for record in ROUNDS[complete:]:
                folder.append(record)
        assert records(tmp_path) == whole


def test_every_changed_byte_is_seen(tmp_path, rng):
    """One byte of any line: neither that line nor what follows is believed, and its number is named."""
    content = filled(tmp_path)
    for place in range(0, len(content), 5):
        damaged = bytearray(content)
        damaged[place] ^= int(rng.integers(1, 256))
        (tmp_path / "rounds.jsonl").write_bytes(damaged)
        rounds, _, damage = opened(tmp_path)
        number = content[:place].count(b"\n")
        assert rounds == ROUNDS[:number]
        # Without its line break the last line looks like a kill's.
        assert place == len(content) - 1 or f"rounds.jsonl is damaged in line {number + 1}" in damage[0]


@pytest.mark.parametrize(
    "damage", [b"\x00\x00\n", b"\xff\xfe{}\n", b"{}{}\n", b"null\n", b"3\n", b"[" * 100_000 + b"\n"]
)
def test_what_follows_a_damaged_line_is_taken_again(tmp_path, damage, capsys):
    lines = filled(tmp_path).splitlines(keepends=True)
    (tmp_path / "rounds.jsonl").write_bytes(b"".join([*lines[:2], damage, *lines[3:]]))
    assert opened(tmp_path)[0] == ROUNDS[:2]
    assert "rounds.jsonl is damaged in line 3" in capsys.readouterr().err
    assert (tmp_path / "rounds.jsonl").read_bytes() == b"".join(lines[:2])


@pytest.mark.parametrize("order", [[0, 1, 0, 2], [0, 2, 3], [1, 2, 3], [0, 0], [1, 0]])
def test_lines_out_of_order_are_not_believed(tmp_path, order):
    """Two processes, or a journal that lost a line: what a chain says at once."""
    lines = filled(tmp_path).splitlines(keepends=True)
    (tmp_path / "rounds.jsonl").write_bytes(b"".join(lines[number] for number in order))
    kept = next(place for place, number in enumerate([*order, -1]) if place != number)
    rounds, _, damage = opened(tmp_path)
    assert rounds == ROUNDS[:kept]
    assert damage


def test_rounds_of_another_run_are_not_believed(tmp_path):
    filled(tmp_path / "one")
    with RunFolder(tmp_path / "two", {"seed": 1}) as folder:
        folder.append(ROUNDS[0])
    shutil.copy(tmp_path / "one" / "rounds.jsonl", tmp_path / "two")
    assert opened(tmp_path / "two", {"seed": 1})[0] == []


def test_missing_rounds_and_left_over_files(tmp_path):
    filled(tmp_path)
    (tmp_path / "rounds.jsonl").unlink()
    left = [tmp_path / ".result.json.123", tmp_path / ".report.html.0123456789abcdef.tmp"]
    for path in left:
        path.write_text("{")  # a kill between writing and renaming
    gone = tmp_path / ".shards.0123456789abcdef.gone"
    gone.mkdir()
    (gone / "0000001.npz").write_text("")
    with RunFolder(tmp_path, CONFIG) as folder:
        assert folder.rounds == []
        assert folder.result() is None
        assert not any(path.exists() for path in (*left, gone))
        folder.finish(RESULT)
    assert opened(tmp_path)[1] == RESULT


def test_another_configuration_is_refused_and_nothing_lost(tmp_path):
    content = filled(tmp_path)
    for config, differing in (({"seed": 1, "path": None}, "seed"), ({"seed": 0}, None), ({"seed": 0, "new": 2}, "new")):
        if differing is None:
            continue
        with pytest.raises(InputError, match=f"another configuration .*{differing}"):
            RunFolder(tmp_path, config)
    assert (tmp_path / "rounds.jsonl").read_bytes() == content


def test_another_environment_goes_on_with_nothing_half_finished(tmp_path):
    """Last bits differ between versions and processors: a mix is no run of either."""
    here, there = {"jax": "0.10.2", "instruction_set": "avx avx2"}, {"jax": "0.10.2", "instruction_set": "avx sse4_2"}
    with RunFolder(tmp_path, CONFIG, here) as folder:
        folder.append(ROUNDS[0])
    with pytest.raises(InputError, match=r"now without avx2 and with sse4_2\); finish it there"):
        RunFolder(tmp_path, CONFIG, there)
    with RunFolder(tmp_path, CONFIG, here) as folder:
        folder.finish(RESULT)
    assert opened(tmp_path, CONFIG, there)[1] == RESULT  # finished is finished


@pytest.mark.parametrize("content", ["", "{", "[1]", "7", "\udcff", "[" * 100_000])
def test_damaged_files_are_named_and_made_anew(tmp_path, content, capsys):
    filled(tmp_path, finish=True)
    damaged = content.encode(errors="surrogateescape")
    (tmp_path / "result.json").write_bytes(damaged)
    assert opened(tmp_path)[:2] == (ROUNDS, None)
    assert "result.json is damaged; it is made anew" in capsys.readouterr().err
    # The rounds say themselves of which command they are.
    (tmp_path / "config.json").write_bytes(damaged)
    assert opened(tmp_path)[:2] == (ROUNDS, None)
    assert "config.json is damaged; it is written anew" in capsys.readouterr().err
    assert opened(tmp_path)[0] == ROUNDS


@pytest.mark.parametrize("damage", ["missing", "damaged"])
def test_rounds_without_a_configuration_are_not_taken_for_another_run(tmp_path, damage):
    content = filled(tmp_path)
    if damage == "missing":
        (tmp_path / "config.json").unlink()
    else:
        (tmp_path / "config.json").write_bytes(b"")  # what a power cut leaves of a file that was not synced
    with pytest.raises(InputError, match=rf"config\.json, which says of what, is {damage}"):
        RunFolder(tmp_path, {"seed": 1})
    assert (tmp_path / "rounds.jsonl").read_bytes() == content
    assert opened(tmp_path)[0] == ROUNDS


def test_every_changed_byte_of_a_result_is_seen(tmp_path, rng):
    filled(tmp_path, finish=True)
    for name in ("result.json", "config.json"):
        content = (tmp_path / name).read_bytes()
        for place in range(len(content)):
            damaged = bytearray(content)
            damaged[place] ^= int(rng.integers(1, 256))
            assert seal.unsealed(bytes(damaged)).state is seal.State.DAMAGED
            assert seal.unsealed(content[:place]).state is seal.State.DAMAGED


def test_a_finished_run_is_shown_as_far_as_it_is_whole(tmp_path):
    lines = filled(tmp_path, finish=True).splitlines(keepends=True)
    (tmp_path / "rounds.jsonl").write_bytes(lines[0] + b"?" + lines[1][1:] + lines[2])
    rounds, result, damage = opened(tmp_path)
    assert (rounds, result) == (ROUNDS[:1], RESULT)
    assert "line 2" in damage[0]
    assert (tmp_path / "rounds.jsonl").read_bytes().count(b"\n") == 3, "of a finished run nothing is thrown away"
    (tmp_path / "rounds.jsonl").write_bytes(b"".join(lines[:2]))
    assert "ends after 2 of 4 lines" in opened(tmp_path)[2][0]


def test_a_folder_of_the_version_before(tmp_path):
    """Without checksums: a finished run is shown, an unfinished one refused."""
    (tmp_path / "config.json").write_text(json.dumps({"seed": 0, "strategy": "prune", "settings": {"old": 1}}))
    (tmp_path / "rounds.jsonl").write_text("".join(json.dumps(record) + "\n" for record in ROUNDS))
    config = {"seed": 0, "strategy": "prune", "settings": {"new": 1}}
    with pytest.raises(InputError, match="written by an earlier version and is not finished"):
        RunFolder(tmp_path, config)
    (tmp_path / "result.json").write_text(json.dumps(RESULT))
    assert opened(tmp_path, config)[:2] == (ROUNDS, RESULT)
    with pytest.raises(InputError, match=r"another configuration .*seed"):
        RunFolder(tmp_path, {**config, "seed": 1})
    for damaged in ("{}", "{", json.dumps({**RESULT, "rounds": "4"})):
        (tmp_path / "result.json").write_text(damaged)
        with pytest.raises(InputError, match=r"has a result\.json that is damaged"):
            RunFolder(tmp_path, config)


def test_seconds_add_up_over_sessions(tmp_path):
    for session in range(3):
        with RunFolder(tmp_path, CONFIG) as folder:
            folder.spent.started -= 100
            counted = [3.0]  # an earlier run's, of programs that are kept
            folder.spent.watch(lambda counted=counted: counted[0])
            counted[0] += 7
            folder.append(ROUNDS[session])
    with RunFolder(tmp_path, CONFIG) as folder:
        total = folder.spent.total()
    assert total["compile_seconds"] == 21
    assert 300 <= total["wall_seconds"] < 310


@pytest.mark.parametrize("preset", ["default", "released"])
def test_a_search_resumes_from_every_prefix(tmp_path, rng, preset, capsys):
    indicators = [
        scored_by("condition_number", True, rng.normal(size=(6, 5))),
        scored_by("linear_regions", False, rng.normal(size=(6, 5))),
    ]

    def searched(path):
        with RunFolder(path, {}) as folder:
            mask = strategies.prune_in_folder(3, NAS_BENCH_201, indicators, PRESETS[preset], folder)
        return NAS_BENCH_201.format(mask)

    architecture = searched(tmp_path / "whole")
    lines = (tmp_path / "whole" / "rounds.jsonl").read_bytes().splitlines(keepends=True)
    assert len(lines) == (18 if preset == "default" else 3)
    for number in range(len(lines)):
        for extra in (0, len(lines[number]) // 2, len(lines[number]) - 1):
            folder = tmp_path / f"{number}-{extra}"
            folder.mkdir()
            (folder / "rounds.jsonl").write_bytes(b"".join(lines[:number]) + lines[number][:extra])
            shutil.copy(tmp_path / "whole" / "config.json", folder)
            np.testing.assert_array_equal(searched(folder), architecture)
            assert records(folder) == records(tmp_path / "whole")
    assert capsys.readouterr().out == ""
