"""The three strategies through the command line: limits kept, runs resumed, nonsense refused."""

import csv
import json

import numpy as np
import pytest

from tenas_jax import DARTS, NAS_BENCH_201
from tenas_jax.networks import cost
from tenas_jax.scores.scorer import Scorer
from tenas_jax.search import command as search
from tenas_jax.search.config import Config

EVOLVE = ["--strategy", "evolve", "--evaluations", "96", "--repeats", "1"]


def found(folder):
    return json.loads((folder / "result.json").read_text())


def rounds(folder):
    lines = (folder / "rounds.jsonl").read_text().splitlines()
    varying = ("seconds", "spent", "sha256")
    return [{k: v for k, v in json.loads(line).items() if k not in varying} for line in lines]


def test_evolution_goes_on_where_it_was_stopped(tmp_path, capsys):
    assert search.main([*EVOLVE, "--output", str(tmp_path / "whole")]) == 0
    architecture = capsys.readouterr().out.strip()
    result = found(tmp_path / "whole")
    assert result["architecture"] == architecture
    assert result["evaluations"] == 96
    mask = NAS_BENCH_201.parse(architecture)
    assert result["cost"] == {
        "parameters": cost.parameters(NAS_BENCH_201, mask),
        "flops": cost.flops(NAS_BENCH_201, mask),
    }
    content = (tmp_path / "whole" / "rounds.jsonl").read_bytes()
    first = content.splitlines(keepends=True)[0]
    for cut in (0, len(first), len(content) - 1):
        folder = tmp_path / f"cut{cut}"
        folder.mkdir()
        (folder / "config.json").write_bytes((tmp_path / "whole" / "config.json").read_bytes())
        (folder / "rounds.jsonl").write_bytes(content[:cut])
        assert search.main([*EVOLVE, "--output", str(folder)]) == 0
        assert rounds(folder) == rounds(tmp_path / "whole")


def test_evolution_takes_the_best_it_has_seen(tmp_path):
    search.run(Config(strategy="evolve", evaluations=96, repeats=1, output=tmp_path / "run"))
    used = found(tmp_path / "run")["config"]
    assert list(used["scores"]) == list(NAS_BENCH_201.family.default_scores)
    assert used["evaluations"] == 96
    assert "rule" not in used, "settings of pruning took no part"
    record = rounds(tmp_path / "run")
    spatial = np.array([float(v) for r in record for v in r["scores"]["live_spatial_convolutions"]])
    strings = [s for r in record for s in r["architectures"]]
    assert len(set(strings)) == 96
    best = strings.index(record[-1]["best"])
    assert spatial[best] >= np.median(spatial), "live convolutions are one of the scores, and more is better"
    early, late = spatial[:64], spatial[64:]
    assert late.mean() > early.mean()


def test_exhaustive_search_is_the_first_of_a_ranking_below_the_limit(tmp_path, monkeypatch):
    limit = 9_000_000  # at most one 1x1 convolution at each resolution
    config = Config(strategy="exhaustive", repeats=1, max_flops=limit, output=tmp_path / "run")

    stopped = []

    def stop(scorer, masks):
        stopped.append(len(masks))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Scorer, "__call__", stop)
        with pytest.raises(KeyboardInterrupt):
            search.run(config)
    assert stopped
    architecture = search.run(config)
    with (tmp_path / "run" / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    everything = np.stack(list(NAS_BENCH_201.enumerate()))
    affordable = {NAS_BENCH_201.format(m) for m in everything[cost.flops(NAS_BENCH_201, everything) <= limit]}
    assert {row["architecture"] for row in rows} == affordable
    assert rows[0]["architecture"] == architecture
    sums = [float(row["smoothed"]) for row in rows]
    assert sums == sorted(sums, reverse=True)
    assert not (tmp_path / "run" / "shards").exists()
    assert found(tmp_path / "run")["rounds"] == 1


def test_pruning_keeps_to_the_limits(tmp_path):
    architecture = search.run(Config(max_params=500_000, max_flops=60_000_000, output=tmp_path / "run"))
    mask = NAS_BENCH_201.parse(architecture)
    assert cost.parameters(NAS_BENCH_201, mask) <= 500_000
    assert cost.flops(NAS_BENCH_201, mask) <= 60_000_000
    records = rounds(tmp_path / "run")
    gone = [tuple(p) for r in records for p in r["pruned"] + r["unaffordable"]]
    assert len(gone) == len(set(gone)) == 18
    # Rounds are replayed with what went because it was over budget.
    lines = (tmp_path / "run" / "rounds.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "run" / "rounds.jsonl").write_text("".join(lines[:-1]))
    (tmp_path / "run" / "result.json").unlink()
    again = search.run(Config(max_params=500_000, max_flops=60_000_000, output=tmp_path / "run"))
    assert again == architecture
    assert rounds(tmp_path / "run") == records


@pytest.mark.slow
def test_darts_evolves_below_the_limit(tmp_path, capsys):
    argv = ["--space", "darts", "--strategy", "evolve", "--evaluations", "96", "--max-params", "2.5M"]
    assert search.main([*argv, "--output", str(tmp_path / "run")]) == 0
    assert cost.parameters(DARTS, DARTS.parse(capsys.readouterr().out.strip())) <= 2_500_000
    assert found(tmp_path / "run")["genotype"]["normal_concat"] == [2, 3, 4, 5]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--strategy", "random"], "choose one of prune, evolve, exhaustive"),
        (["--strategy", "exhaustive", "--space", "darts"], "too large"),
        (["--strategy", "evolve", "--preset", "paper"], "about pruning"),
        (["--strategy", "evolve", "--prune-number", "2"], "about pruning"),
        (["--evaluations", "10"], "belongs to --strategy evolve"),
        (["--strategy", "evolve", "--evaluations", "0"], "from 1"),
        (["--max-params", "0"], "at least 1"),
        (["--max-params", "many"], "'many' is not a number such as"),
        (
            ["--max-params", "1K"],
            "1000` is below the smallest architecture of nasbench201 (73,306 parameters); raise it",
        ),
        (
            ["--max-flops", "1M", "--space", "darts", "--strategy", "evolve"],
            "is below the smallest architecture of darts",
        ),
    ],
)
def test_nonsense_is_one_sentence(arguments, part, tmp_path, capsys):
    assert search.main([*arguments, "--output", str(tmp_path / "run")]) == 2
    output = capsys.readouterr()
    assert part in output.err
    assert output.err.count("\n") == 1
    assert output.out == ""
    assert not (tmp_path / "run").exists()
