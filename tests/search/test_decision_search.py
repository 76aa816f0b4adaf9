"""Spaces of decisions through the command lines: limits, resume, reports, tables; by costs, so that nothing is compiled."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from conftest import scored_by_parameters

from tenas_jax.networks.cost import costs
from tenas_jax.rank import command as rank
from tenas_jax.search import command as search
from tenas_jax.spaces.mnasnet import MNASNET
from tenas_jax.spaces.nasbench_macro import NAS_BENCH_MACRO

SPACES = {space.name: space for space in (MNASNET, NAS_BENCH_MACRO)}
LIMIT = 300_000_000


@pytest.fixture(autouse=True)
def by_parameters(monkeypatch):
    scored_by_parameters(monkeypatch, SPACES, 48)


def run(folder: Path, *argv: str) -> str:
    assert search.main(["--space", "mnasnet", *argv, "--output", str(folder)]) == 0
    return json.loads((folder / "result.json").read_text())["architecture"]


def test_pruning_keeps_the_limit_resumes_and_is_drawn(tmp_path):
    argv = ("--max-flops", str(LIMIT))
    found = run(tmp_path / "whole", *argv)
    assert costs(MNASNET, MNASNET.parse(found)).flops <= LIMIT
    lines = (tmp_path / "whole" / "rounds.jsonl").read_bytes().splitlines(keepends=True)
    assert len(lines) > 8
    cut = tmp_path / "cut"
    cut.mkdir()
    (cut / "config.json").write_bytes((tmp_path / "whole" / "config.json").read_bytes())
    (cut / "rounds.jsonl").write_bytes(b"".join(lines[:4]))
    assert run(cut, *argv) == found
    page = (tmp_path / "whole" / "report.html").read_text()
    assert "block 6" in page
    assert all(option in page for option in found.split("-"))


def test_pruning_without_a_limit_finds_large_ones(tmp_path):
    random = costs(MNASNET, MNASNET.sample(jax.random.key(0), 2000)).parameters
    assert costs(MNASNET, MNASNET.parse(run(tmp_path))).parameters > np.quantile(random, 0.99)


def test_evolution_keeps_the_limit(tmp_path):
    found = run(tmp_path, "--strategy", "evolve", "--evaluations", "160", "--max-flops", str(LIMIT))
    mask = MNASNET.parse(found)
    assert costs(MNASNET, mask).flops <= LIMIT
    seen = [json.loads(line) for line in (tmp_path / "rounds.jsonl").read_text().splitlines()]
    strings = [text for record in seen for text in record["architectures"]]
    assert len(set(strings)) == 160
    assert costs(MNASNET, mask).parameters == max(costs(MNASNET, MNASNET.parse(text)).parameters for text in strings)


def test_what_is_too_large_to_go_through_is_refused(tmp_path, capsys):
    assert search.main(["--space", "mnasnet", "--strategy", "exhaustive", "--output", str(tmp_path)]) == 2
    assert "mnasnet is too large to go through" in capsys.readouterr().err
    assert search.main(["--space", "mnasnet", "--preset", "paper", "--output", str(tmp_path)]) == 2
    assert "mnasnet has no preset 'paper'" in capsys.readouterr().err


def test_a_ranking_reads_the_table_of_a_benchmark(tmp_path, capsys):
    table = tmp_path / "table.csv"
    table.write_text("code,test_accuracy\n22222222,90\n00000000,70\n12121212,\n01010101,80\n")
    listed = tmp_path / "architectures.csv"
    listed.write_text("code\n22222222\n00000000\n12121212\n01010101\n")
    argv = [
        "--space",
        "nasbench-macro",
        "--architectures",
        str(listed),
        "--scores",
        "parameters,depth",
        "--repeats",
        "1",
    ]
    assert rank.main([*argv, "--benchmark", str(table), "--output", str(tmp_path / "ranking.csv")]) == 0
    assert capsys.readouterr().out.strip().splitlines()[-1] == "22222222"
    blocks = tmp_path / "blocks.csv"
    names = [f"{part}{number}" for number in range(7) for part in ("e", "k", "l", "se")]
    blocks.write_text(f"{','.join(names)},top1\n" + ",".join(["4", "3", "2", "1"] * 7) + ",60\n")
    argv = ["--space", "mnasnet", "--architectures", str(blocks), "--scores", "flops", "--repeats", "1"]
    assert rank.main([*argv, "--output", str(tmp_path / "mnasnet.csv")]) == 0
    assert capsys.readouterr().out.strip().splitlines()[-1] == "-".join(["e4k3l2se1"] * 7)
    blocks.write_text(f"{','.join(names)},top1\n" + ",".join(["x", "3", "2", "1"] * 7) + ",60\n")
    assert rank.main([*argv, "--output", str(tmp_path / "other.csv")]) == 2
    assert "must hold whole numbers" in capsys.readouterr().err
