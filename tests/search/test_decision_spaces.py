"""Every space of decisions through the strategies: limits, resume, reports; by parameters, so that nothing is compiled."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import scored_by_parameters

from tenas_jax.networks.cost import costs
from tenas_jax.rank import command as rank
from tenas_jax.report import command as report
from tenas_jax.search import command as search
from tenas_jax.spaces.nasbench101 import NAS_BENCH_101
from tenas_jax.spaces.nasbench_macro import NAS_BENCH_MACRO
from tenas_jax.spaces.space import SearchSpace
from tenas_jax.spaces.transnas_macro import TRANSNAS_MACRO

SPACES = {space.name: space for space in (NAS_BENCH_101, NAS_BENCH_MACRO, TRANSNAS_MACRO)}
# Between the smallest and the largest of each.
LIMITS = {"nasbench101": 6_000_000, "nasbench-macro": 1_500_000, "transnas-macro": 9_000_000}
MOST_FLOPS = {"nasbench101": 2_000_000_000, "nasbench-macro": 60_000_000, "transnas-macro": 5_000_000_000}


@pytest.fixture(autouse=True)
def by_parameters(monkeypatch):
    scored_by_parameters(monkeypatch, SPACES, 32)


def run(space: SearchSpace, folder: Path, *argv: str) -> np.ndarray:
    assert search.main(["--space", space.name, *argv, "--output", str(folder)]) == 0
    return space.parse(json.loads((folder / "result.json").read_text())["architecture"])


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_pruning_keeps_both_limits_resumes_and_is_reported(tmp_path, space):
    argv = ("--max-params", str(LIMITS[space.name]), "--max-flops", str(MOST_FLOPS[space.name]))
    found = run(space, tmp_path / "whole", *argv)
    assert costs(space, found).parameters <= LIMITS[space.name]
    assert costs(space, found).flops <= MOST_FLOPS[space.name]
    assert space.valid(found[None])[0]
    lines = (tmp_path / "whole" / "rounds.jsonl").read_bytes().splitlines(keepends=True)
    cut = tmp_path / "cut"
    cut.mkdir()
    (cut / "config.json").write_bytes((tmp_path / "whole" / "config.json").read_bytes())
    (cut / "rounds.jsonl").write_bytes(b"".join(lines[:3]))
    assert np.array_equal(run(space, cut, *argv), found)
    (cut / "report.html").unlink()
    assert report.main([str(cut)]) == 0
    assert space.format(found) in (cut / "report.html").read_text()


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_evolution_keeps_both_limits_and_resumes(tmp_path, space):
    argv = ("--strategy", "evolve", "--evaluations", "128")
    argv += ("--max-params", str(LIMITS[space.name]), "--max-flops", str(MOST_FLOPS[space.name]))
    found = run(space, tmp_path / "whole", *argv)
    lines = (tmp_path / "whole" / "rounds.jsonl").read_bytes().splitlines(keepends=True)
    seen = np.stack([space.parse(text) for line in lines for text in json.loads(line)["architectures"]])
    counted = costs(space, seen)
    assert counted.parameters.max() <= LIMITS[space.name]
    assert counted.flops.max() <= MOST_FLOPS[space.name]
    assert space.valid(seen).all()
    # Smoothing may prefer one whose neighbours are good too.
    assert costs(space, found).parameters >= np.quantile(counted.parameters, 0.9)
    cut = tmp_path / "cut"
    cut.mkdir()
    (cut / "config.json").write_bytes((tmp_path / "whole" / "config.json").read_bytes())
    (cut / "rounds.jsonl").write_bytes(b"".join(lines[:1]))
    assert np.array_equal(run(space, cut, *argv), found)


@pytest.mark.parametrize("space", [NAS_BENCH_MACRO, TRANSNAS_MACRO], ids=lambda space: space.name)
def test_a_space_that_is_small_is_gone_through(tmp_path, space):
    found = run(space, tmp_path, "--strategy", "exhaustive", "--max-params", str(LIMITS[space.name]))
    counted = costs(space, space.enumerated()).parameters
    assert costs(space, found).parameters <= LIMITS[space.name]
    assert costs(space, found).parameters >= np.quantile(counted[counted <= LIMITS[space.name]], 0.99)
    assert (
        run(space, tmp_path, "--strategy", "exhaustive", "--max-params", str(LIMITS[space.name])).tolist()
        == found.tolist()
    )
    assert space.format(found) in (tmp_path / "report.html").read_text()


def test_nasbench101_is_too_large_to_go_through(tmp_path, capsys):
    assert search.main(["--space", "nasbench101", "--strategy", "exhaustive", "--output", str(tmp_path)]) == 2
    assert (
        capsys.readouterr()
        .err.strip()
        .splitlines()[-1]
        .endswith("nasbench101 is too large to go through; take --strategy evolve or --strategy prune.")
    )


def test_the_smallest_cell_of_nasbench101_is_found(tmp_path, capsys):
    # The least of its table, and of 10,250 uniform draws of it.
    argv = ["--space", "nasbench101", "--max-params", "227273", "--output", str(tmp_path)]
    assert search.main(argv) == 2
    assert "the smallest architecture of nasbench101 (227,274 parameters)" in capsys.readouterr().err


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_limits_that_nothing_meets_are_refused(tmp_path, capsys, space):
    for option in ("--max-params", "--max-flops"):
        assert search.main(["--space", space.name, option, "1000", "--output", str(tmp_path)]) == 2
        assert f"`{option} 1000` is below the smallest architecture of {space.name}" in capsys.readouterr().err


def test_macro_networks_are_ranked_by_a_table_of_codes(tmp_path, capsys):
    table = tmp_path / "table.csv"
    table.write_text("code,class_scene\n2413,52\n112341,54\n444111,\n13241,51\n")
    argv = ["--space", "transnas-macro", "--architectures", str(table), "--scores", "flops", "--repeats", "1"]
    argv += ["--benchmark", str(table), "--benchmark-column", "class_scene", "--output", str(tmp_path / "ranking.csv")]
    assert rank.main(argv) == 0
    order = capsys.readouterr().out.strip().splitlines()[-1]
    assert order == "2413"
    assert len((tmp_path / "ranking.csv").read_text().splitlines()) == 5
