"""Limits on latency and energy: tables, predictors, measurements, and fronts, against brute force over the space."""

import csv
import gzip
import json
import os
import re
import shlex
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
from conftest import scored_by, shrink

import tenas_jax
from tenas_jax import DARTS, NAS_BENCH_201, InputError
from tenas_jax.networks import cost
from tenas_jax.networks.latency import Latency, measure_latency
from tenas_jax.networks.yardsticks import live_operators
from tenas_jax.records.shards import Table
from tenas_jax.report.page import report
from tenas_jax.report.run_files import read_run
from tenas_jax.scores.scorer import Scorer
from tenas_jax.search import calibration, pruner, strategies
from tenas_jax.search import command as search
from tenas_jax.search.budget import Budget
from tenas_jax.search.evolution import Evolution, least_dominated
from tenas_jax.search.hardware import amounts_of, read_hardware
from tenas_jax.search.limits import asked, check_budget, check_limits
from tenas_jax.search.measures import Limit, Measure, fitted
from tenas_jax.search.predictor import predicted

EVERYTHING = NAS_BENCH_201.enumerated()


def slow_times(masks):
    """Milliseconds that do not add up: every edge of a path costs, and 3x3 convolutions side by side more."""
    counts = live_operators(NAS_BENCH_201, masks).sum((1, 2))
    return 1 + counts @ [0, 0.5, 2, 5, 1] + 0.7 * counts[:, 3] ** 2


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Two devices; the second runs no average pooling."""
    path = tmp_path_factory.mktemp("hardware") / "table.csv"
    times = slow_times(EVERYTHING)
    with path.open("w") as file:
        file.write("index,architecture,board_latency_ms,board_energy_mj,chip_latency_ms\n")
        for number, (name, time) in enumerate(zip(NAS_BENCH_201.formats(EVERYTHING), times.tolist(), strict=True)):
            chip = "" if "avg_pool" in name else f"{time / 10}"
            file.write(f"{number},{name},{time!r},{3 * time!r},{chip}\n")
    return path


@pytest.mark.parametrize(
    ("text", "most", "device"),
    [("20ms", 20, ""), ("20 ms", 20, ""), ("0.02s", 20, ""), (" 500us@a ", 0.5, "a"), ("1e1ms @ a b", 10, "a b")],
)
def test_amounts_with_their_units(text, most, device):
    (found,) = amounts_of("latency", text)
    assert found.most == pytest.approx(most)
    assert found.device == device
    assert len(amounts_of("latency", f"{text},3ms@other")) == 2


@pytest.mark.parametrize(
    "text", ["20", "ms", "20 m", "20MS", "-3ms", "0ms", "nanms", "infs", "1e999s", "20ms@", "20mJ", ""]
)
def test_anything_else_is_one_sentence(text):
    with pytest.raises(
        InputError, match=r"^--max-latency is an amount above zero with its unit \(us, ms, s\), such as 20ms"
    ):
        amounts_of("latency", text)


def test_a_table_is_what_its_file_says(table):
    read = read_hardware(table)
    assert read.devices("latency") == ["board", "chip"]
    np.testing.assert_array_equal(
        read.measure("latency", "board").values(NAS_BENCH_201, EVERYTHING), slow_times(EVERYTHING)
    )
    chip = read.measure("latency", "chip").values(NAS_BENCH_201, EVERYTHING)
    np.testing.assert_array_equal(np.isnan(chip), EVERYTHING[..., 4].any((1, 2)))
    assert read.measure("energy", "").on == "board", "the only one"


def random_mask(rng):
    mask = rng.random(NAS_BENCH_201.mask_shape) < 0.5
    mask[..., 1] |= ~mask.any(-1)
    return mask


@pytest.mark.parametrize(("most", "flops"), [(12.0, None), (30.0, 60_000_000)])
def test_what_is_unaffordable_is_in_no_architecture_that_meets_the_limits(table, rng, most, flops):
    budget = Budget(flops=flops, others=(Limit(read_hardware(table).measure("latency", "board"), most),))
    meets = slow_times(EVERYTHING) <= most
    meets &= cost.flops(NAS_BENCH_201, EVERYTHING) <= (flops or np.inf)
    np.testing.assert_array_equal(budget.meet(NAS_BENCH_201, EVERYTHING), meets)
    for _ in range(5):
        mask = random_mask(rng)
        inside = EVERYTHING[meets & (mask >= EVERYTHING).all((1, 2, 3))]
        gone = np.zeros_like(mask)
        gone[tuple(budget.unaffordable(NAS_BENCH_201, mask).T)] = True
        np.testing.assert_array_equal(gone, mask & ~inside.any(0))
        for place in map(tuple, np.argwhere(mask).tolist()):
            found = budget.cheapest(NAS_BENCH_201, mask, place)
            assert (found is None) == gone[place]
            assert found is None or (budget.meet(NAS_BENCH_201, found) and found[place] and (found <= mask).all())


def test_a_measure_without_prices_says_what_its_prices_say(rng):
    """Multiply-adds by both ways: from prices, which are exact, and by going through the space."""
    counted = Budget(flops=60_000_000)
    (limit,) = counted.limits
    gone_through = Budget(others=(limit._replace(measure=Measure("flops", "", "", limit.measure.function)),))
    assert gone_through.goes_through(NAS_BENCH_201)
    assert not counted.goes_through(NAS_BENCH_201)
    for _ in range(5):
        mask = random_mask(rng)
        np.testing.assert_array_equal(
            counted.unaffordable(NAS_BENCH_201, mask), gone_through.unaffordable(NAS_BENCH_201, mask)
        )


def test_a_cost_that_does_not_add_up_is_told_by_its_numbers(monkeypatch, rng):
    """As of networks whose operators share weights."""
    space = replace(NAS_BENCH_201, name="sharing")
    whole = cost.costs

    def sharing(space, mask):
        found = whole(space, mask)
        return found._replace(parameters=found.parameters - 5000 * (mask[..., 3].sum((-1, -2)) > 1))

    monkeypatch.setattr(cost, "costs", sharing)
    budget = Budget(parameters=500_000)
    assert budget.goes_through(space)
    mask = random_mask(rng)
    inside = EVERYTHING[(sharing(space, EVERYTHING).parameters <= 500_000) & (mask >= EVERYTHING).all((1, 2, 3))]
    gone = np.zeros_like(mask)
    gone[tuple(budget.unaffordable(space, mask).T)] = True
    np.testing.assert_array_equal(gone, mask & ~inside.any(0))
    assert not Budget(flops=60_000_000).goes_through(space)


@pytest.mark.parametrize("rule", ["completion", "removal"])
def test_pruning_keeps_nothing_that_no_affordable_architecture_holds(table, rng, rule):
    most = 14.0
    budget = Budget(others=(Limit(read_hardware(table).measure("latency", "board"), most),))
    meets = slow_times(EVERYTHING) <= most
    indicators = [scored_by("condition_number", True, rng.normal(size=NAS_BENCH_201.mask_shape))]
    settings = {"indicators": indicators, "rule": rule, "budget": budget}
    state, start = pruner.init(NAS_BENCH_201), pruner.init(NAS_BENCH_201)
    for state, info in pruner.steps(jax.random.key(0), start, space=NAS_BENCH_201, **settings):
        inside = EVERYTHING[meets & (state.mask >= EVERYTHING).all((1, 2, 3))]
        assert len(inside), "an architecture that meets the limit is left"
        if len(info.pruned) == 1:
            before = state.mask.copy()
            before[tuple(info.pruned.T)] = True
            assert (EVERYTHING[meets & (before >= EVERYTHING).all((1, 2, 3))].any(0) == before).all()
    assert pruner.is_done(state, NAS_BENCH_201)
    assert slow_times(state.mask[None])[0] <= most


def test_samples_and_repairs_meet_the_limits(table, rng):
    budget = Budget(others=(Limit(read_hardware(table).measure("latency", "board"), 9.0),))
    mask = NAS_BENCH_201.supernet()
    mask[tuple(budget.unaffordable(NAS_BENCH_201, mask).T)] = False
    masks = NAS_BENCH_201.one_hot(budget.sample(jax.random.key(0), mask, 96, NAS_BENCH_201))
    assert (slow_times(masks) <= 9).all()
    np.testing.assert_array_equal(masks.any(0), mask)
    meets = EVERYTHING[slow_times(EVERYTHING) <= 9].argmax(-1)
    for choice in rng.integers(5, size=(20, 1, 6)):
        lowered = budget.lower(rng, choice, NAS_BENCH_201.alternatives(), NAS_BENCH_201)
        assert (lowered != choice).sum() == (meets != choice).sum((1, 2)).min(), "the fewest edges are changed"


def test_limits_below_the_least_are_refused_with_the_least(table, capsys):
    times = slow_times(EVERYTHING)
    measure = read_hardware(table).measure("latency", "board")
    connected = NAS_BENCH_201.connected(EVERYTHING)
    least = times[connected].min()
    carrying = times[connected & ~EVERYTHING[..., 0].any((1, 2))].min()
    assert least < carrying
    check_budget(Budget(others=(Limit(measure, least),)), NAS_BENCH_201, "evolve")
    check_budget(Budget(others=(Limit(measure, carrying),)), NAS_BENCH_201, "prune")
    meets, whole = times <= carrying, ~EVERYTHING[..., 0].any((1, 2))
    said = f"it can reach {(meets & whole).sum():,} of the {meets.sum():,} architectures that meet the limits"
    assert said in capsys.readouterr().err
    for strategy, below, named in (("evolve", 1.2, least), ("prune", least, carrying)):
        with pytest.raises(InputError, match=rf"least latency on board .* \({named:g} ms\); raise it to at least that"):
            check_budget(Budget(others=(Limit(measure, below),)), NAS_BENCH_201, strategy)


def test_limits_that_are_met_one_by_one_alone():
    """The faster, the more energy."""
    times = Measure("latency", "ms", "--max-latency", lambda space, masks: slow_times(masks), on="board")
    energy = Measure("energy", "mJ", "--max-energy", lambda space, masks: 200 - slow_times(masks), on="board")
    check_budget(Budget(others=(Limit(times, 40.0), Limit(energy, 180.0))), NAS_BENCH_201, "evolve")
    with pytest.raises(InputError, match="meets both limits; raise one of them"):
        check_budget(Budget(others=(Limit(times, 20.0), Limit(energy, 170.0))), NAS_BENCH_201, "evolve")


WEIGHTS = np.random.default_rng(5).uniform(0.1, 1, DARTS.mask_shape)


def darts_times(masks, space):
    """Adds up, which nobody is told; what is dropped is free."""
    return 3 + (masks * WEIGHTS)[..., space.carriers].sum((1, 2, 3))


def curved_times(masks, space):
    return darts_times(masks, space) ** 2 / 10


def test_prices_are_fitted_where_a_space_is_too_large():
    measure = predicted(darts_times, DARTS)
    prices = fitted(measure, DARTS)
    masks = DARTS.sample(jax.random.key(7), 50)
    sums = (masks * prices).sum((1, 2, 3))
    np.testing.assert_allclose(np.diff(sums), np.diff(darts_times(masks, DARTS)), atol=1e-8)


@pytest.mark.parametrize("function", [darts_times, curved_times])
def test_genotypes_meet_a_predicted_limit(function, rng):
    measure = predicted(function, DARTS)
    most = float(np.quantile(function(DARTS.sample(jax.random.key(3), 500), DARTS), 0.05))
    budget = Budget(others=(Limit(measure, most),))
    check_budget(budget, DARTS, "prune")
    for mask in DARTS.sample(jax.random.key(1), 10):
        lowered = DARTS.one_hot(budget.lower(rng, DARTS.choice(mask), DARTS.alternatives(), DARTS))
        DARTS.format(lowered)
        assert function(lowered[None], DARTS)[0] <= most
    for place in map(tuple, np.argwhere(DARTS.supernet())[::40].tolist()):
        found = budget.cheapest(DARTS, DARTS.supernet(), place)
        assert found is not None
        assert found[place]
        assert budget.meet(DARTS, found)
        DARTS.format(found)
    with pytest.raises(InputError, match=r"`--max-latency 0.1 ms` is below the least latency on predictor"):
        check_budget(Budget(others=(Limit(measure, 0.1),)), DARTS, "prune")


def test_a_descent_finds_what_prices_do_not():
    """Where two operators together are fast, which no prices can say."""
    space = DARTS
    fast = space.sample(jax.random.key(9), 1)[0]

    def function(masks, space):
        return 1.0 + (masks & ~fast)[..., space.carriers].sum((1, 2, 3)) + 0.0 * masks.sum((1, 2, 3))

    budget = Budget(others=(Limit(predicted(function, space), 1.0),))
    found = budget.cheapest(space, space.supernet())
    assert found is not None
    np.testing.assert_array_equal(found, fast)


CALLS = []


def unstable(masks, space):
    CALLS.append(len(masks))
    return np.full(len(masks), float(len(CALLS)))


@pytest.mark.parametrize(
    ("function", "part"),
    [
        (lambda masks, space: np.ones(3), r"of shape \(256,\); it returned \(3,\)"),
        (lambda masks, space: "fast", "milliseconds as numbers"),
        (lambda masks, space: -np.ones(len(masks)), "from 0, NaN for what does not run; it returned -1"),
        (lambda masks, space: np.ones(len(masks)) / 0.0, "it returned inf"),
        (lambda masks: 1, r"failed \(TypeError"),
        (unstable, "something else of the same architectures"),
        (7, "must be a function"),
    ],
)
def test_predictors_that_are_none(function, part):
    with np.errstate(all="ignore"), pytest.raises(InputError, match=part):
        predicted(function, NAS_BENCH_201)


def test_another_predictor_is_told_by_its_code_and_by_its_values(tmp_path):
    def scaled(factor):
        return lambda masks, space: factor * slow_times(masks)

    def identity(given):
        return predicted(given, NAS_BENCH_201).identity

    assert identity(scaled(1.0)) == identity(scaled(1.0))
    assert identity(scaled(1.0))["values_sha256"] != identity(scaled(1.001))["values_sha256"]
    for number, text in enumerate(("1.0", "1.0 + 0.0")):
        code = f"def f(masks, space):\n    return {text} + masks[..., 3].sum((1, 2))\n"
        (tmp_path / f"p{number}.py").write_text(code)
    first, second = (identity(f"{tmp_path}/p{number}.py:f") for number in (0, 1))
    assert first["values_sha256"] == second["values_sha256"]
    assert first["code_sha256"] != second["code_sha256"]


def recorded(path) -> Any:
    """The folder of a run, of which calibration needs a path and `write`."""
    return SimpleNamespace(path=path, write=lambda name, content: (path / name).write_text(content))


def pretended(monkeypatch, spread=0.1):
    """Latencies that are sums over what is live, instead of measured ones."""
    measured = []

    def measure(space, mask, batch):
        measured.append(space.format(mask))
        counts = live_operators(space, mask)[..., space.carriers].sum((0, 1))
        return Latency(2.0 + float(counts @ [0.5, 3.0, 7.0, 1.0]), spread, 0.0)

    monkeypatch.setattr(calibration, "measure_latency", measure)
    return measured


def test_what_was_measured_is_kept_and_prices_are_found(tmp_path, monkeypatch, capsys):
    measured = pretended(monkeypatch)
    first = calibration.MeasuredLatency(NAS_BENCH_201, 4)
    first.open(recorded(tmp_path))
    fit = first.calibrate()
    assert len(measured) == len(set(measured)) == calibration.NUMBER
    np.testing.assert_allclose(fit.prices, [2, 0.5, 3, 7, 1], rtol=1e-9)
    assert fit.error < 1e-9
    assert not fit.is_noise
    assert "wrong by" in capsys.readouterr().err
    values = first.measure.values(NAS_BENCH_201, EVERYTHING[::500])
    live = live_operators(NAS_BENCH_201, EVERYTHING[::500])[..., 1:].sum((1, 2))
    np.testing.assert_allclose(values, 2 + live @ [0.5, 3.0, 7.0, 1.0])

    again = calibration.MeasuredLatency(NAS_BENCH_201, 4)
    again.open(recorded(tmp_path))
    np.testing.assert_array_equal(again.calibrate(begun=True).prices, fit.prices)
    assert len(measured) == calibration.NUMBER, "nothing is measured twice"

    lines = (tmp_path / calibration.FILE).read_text().splitlines(keepends=True)
    (tmp_path / calibration.FILE).write_text(
        "".join(lines[:5]) + lines[5].replace("milli", "macro") + "".join(lines[6:])
    )
    damaged = calibration.MeasuredLatency(NAS_BENCH_201, 4)
    damaged.open(recorded(tmp_path))
    assert "damaged, from line 6 on" in capsys.readouterr().err
    with pytest.raises(InputError, match="no longer holds the latencies that this search has gone by"):
        damaged.calibrate(begun=True)
    damaged.calibrate()
    assert len(measured) == 2 * calibration.NUMBER - 5
    other = calibration.MeasuredLatency(NAS_BENCH_201, 8)
    other.open(recorded(tmp_path))
    assert "of another device or batch" in capsys.readouterr().err


def test_noise_is_called_noise(tmp_path, monkeypatch, capsys):
    pretended(monkeypatch, spread=1000.0)
    measured = calibration.MeasuredLatency(NAS_BENCH_201)
    assert measured.calibrate().is_noise
    assert "these latencies are noise" in capsys.readouterr().err


def test_a_forward_pass_is_timed():
    small = tenas_jax.Skeleton(channels=2, cells=1, classes=3)
    space = replace(NAS_BENCH_201, skeletons={"trained": small})
    found = measure_latency(space, space.one_hot(np.array([[3, 1, 3, 2, 4, 3]])), 2, repeats=5)
    assert 0 < found.milliseconds < 10_000
    assert found.spread >= 0
    assert found.compile_seconds > 0


def test_a_forward_pass_is_of_images_as_the_space_has_them():
    seen = []

    def stack(read, space, weights, images, *rest):
        seen.append(getattr(images, "shape", None))
        return NAS_BENCH_201.family.network(read, space, weights, images, *rest)

    family = replace(NAS_BENCH_201.family, network=stack, side=12)
    small = tenas_jax.Skeleton(channels=2, cells=1, stages=1, classes=3)
    space = replace(NAS_BENCH_201, like=family, skeletons={"trained": small})
    measure_latency(space, space.one_hot(np.array([[3, 1, 1, 1, 1, 1]])), 2, repeats=1)
    assert set(seen) == {(2, 12, 12, 3)}
    assert calibration.MeasuredLatency(space).identity["side"] == 12
    assert "side" not in calibration.MeasuredLatency(NAS_BENCH_201).identity


def test_parents_are_those_that_few_beat(rng):
    good, costs = rng.integers(5, size=30) * 1.0, rng.integers(5, size=30) * 1.0
    costs[[3, 28]] = np.nan
    found = least_dominated(good, costs, Evolution(population=20))
    costs[np.isnan(costs)] = np.inf
    for n in range(10, 30):
        beat = [
            m
            for m in range(10, 30)
            if good[m] >= good[n] and costs[m] <= costs[n] and (good[m] > good[n] or costs[m] < costs[n])
        ]
        assert found[n] == -len(beat)
    assert np.isneginf(found[:10]).all()


@pytest.fixture
def small(monkeypatch):
    """Scores that are plain functions of masks: nothing is compiled."""
    shrink(monkeypatch, kernels={"images": 4, "side": 4}, patterns={"samples": 40, "batches": 1}, paths=6, repeats=1)

    def scored(scorer, masks):
        connected = scorer.space.connected(masks)
        values, health = {}, {}
        for number, name in enumerate(scorer.scores):
            weights = np.random.default_rng(number).normal(size=masks.shape[1:])
            value = 1 + np.abs(np.sin((masks * weights).sum((1, 2, 3))))
            values[name] = np.where(connected, value, np.nan)[None].repeat(scorer.repeats, 0)
            health[name] = np.where(connected, "full rank", "disconnected")[None].repeat(scorer.repeats, 0)
        return Table(values, health)

    monkeypatch.setattr(Scorer, "__call__", scored)
    monkeypatch.setattr(Scorer, "compile_seconds", 0.0)
    monkeypatch.setattr(strategies, "_kernels", lambda job, found: {})


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def check_front(points, everything, column):
    """By brute force: a point is of the front if nothing connected beats it."""
    space = NAS_BENCH_201
    alive = [row for row in everything if space.is_connected(space.parse(row["architecture"]))]
    score = np.array([float(row["score"]) for row in alive])
    costs = np.array([float(row[column]) for row in alive])
    best = {
        (row["architecture"])
        for row, s, c in zip(alive, score, costs, strict=True)
        if not ((score >= s) & (costs <= c) & ((score > s) | (costs < c))).any()
    }
    values = {(s, c) for row, s, c in zip(alive, score, costs, strict=True) if row["architecture"] in best}
    assert {row["architecture"] for row in points} <= best
    assert {(float(row["score"]), float(row[column])) for row in points} == values


def test_an_exhaustive_front_below_a_limit(small, table, tmp_path, capsys):
    argv = ["--strategy", "exhaustive", "--repeats", "1", "--hardware", str(table), "--pareto", "latency@board"]
    argv += ["--max-latency", "4.5ms@board", "--output", str(tmp_path / "run")]
    assert search.main(argv) == 0
    out, err = capsys.readouterr()
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    points = [point["architecture"] for point in result["front"]]
    assert out.split() == points
    assert points[-1] == result["architecture"]
    scored = rows(tmp_path / "run" / "costs.csv")
    assert {row["architecture"] for row in scored} == set(
        NAS_BENCH_201.formats(EVERYTHING[slow_times(EVERYTHING) <= 4.5])
    )
    check_front(rows(tmp_path / "run" / "front.csv"), scored, "latency_ms")
    told = {(one["name"], one["on"]): one for one in result["measures"]}
    time = slow_times(NAS_BENCH_201.parse(points[-1])[None])[0]
    assert told["latency", "board"] == {"name": "latency", "on": "board", "unit": "ms", "value": time, "most": 4.5}
    assert told["energy", "board"]["value"] == pytest.approx(3 * time)
    assert "latency on board: " in err
    assert "at most 4.5 ms were asked for" in err
    page = report(read_run(tmp_path / "run"))
    assert "<h2>The front</h2>" in page
    assert "at most 4.5 ms were asked for" in page
    assert page.count('<section id="front-list">') == 1

    # The same command shows it; another table, and another limit, are another run.
    assert search.main(argv) == 0
    assert capsys.readouterr().out == out
    changed = tmp_path / "table.csv"
    changed.write_text(table.read_text().replace("\n7,", "\n8,", 1))
    for old, new in ((str(table), str(changed)), ("4.5ms@board", "4.6ms@board")):
        assert search.main([new if word == old else word for word in argv]) == 2
        assert "differs in limits" in capsys.readouterr().err


def test_an_evolved_front_by_a_function(small, tmp_path):
    def milliseconds(masks, space):
        return slow_times(masks)

    options = {"strategy": "evolve", "evaluations": 96, "repeats": 1, "pareto": "latency", "predictor": milliseconds}
    result = tenas_jax.search(output=tmp_path / "run", max_latency="0.025s", **options)
    scored = rows(tmp_path / "run" / "costs.csv")
    assert len(scored) == 96
    assert all(float(row["latency_ms"]) <= 25 for row in scored)
    check_front(rows(tmp_path / "run" / "front.csv"), scored, "latency_ms")
    assert [point.architecture for point in result.front] == [
        row["architecture"] for row in rows(tmp_path / "run" / "front.csv")
    ]
    assert result.architecture == result.front[-1].architecture
    assert [point.cost for point in result.front] == sorted(point.cost for point in result.front)

    # Half of it again, with the same generations.
    lines = (tmp_path / "run" / "rounds.jsonl").read_bytes().splitlines(keepends=True)
    half = tmp_path / "half"
    half.mkdir()
    (half / "config.json").write_bytes((tmp_path / "run" / "config.json").read_bytes())
    (half / "rounds.jsonl").write_bytes(lines[0])
    assert tenas_jax.search(output=half, max_latency="0.025s", **options).front == result.front


def test_what_was_found_is_timed_on_this_device(small, tmp_path, monkeypatch, capsys):
    measured = pretended(monkeypatch)
    argv = ["--strategy", "evolve", "--evaluations", "64", "--repeats", "1", "--output", str(tmp_path / "run")]
    assert search.main([*argv, "--measure-latency", "2", "--max-latency", "20ms", "--pareto", "latency"]) == 0
    out, err = capsys.readouterr()
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    (told,) = result["measures"]
    assert told["value"] == pytest.approx(told["predicted"])
    assert told["value"] <= told["most"] == 20
    assert told["batch"] == 2
    assert told["noise"] is False
    assert set(measured) >= set(out.split())
    assert "half of the repeats within 0.1 ms" in err
    assert {"measured_ms"} < set(rows(tmp_path / "run" / "front.csv")[0])


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--max-latency", "20ms"], "needs something that knows the latency: give --hardware TABLE, --predictor or"),
        (["--max-energy", "20mJ"], "needs something that knows the energy: give --hardware TABLE."),
        (["--max-latency", "20ms@dishwasher", "--hardware", "TABLE"], "'dishwasher'; it has that of board, chip."),
        (["--max-latency", "20ms", "--hardware", "TABLE"], "must name a device of"),
        (
            ["--max-latency", "1ms@board", "--hardware", "TABLE"],
            "`--max-latency 1 ms` is below the least latency on board",
        ),
        (
            ["--max-latency", "9ms@board", "--hardware", "TABLE", "--space", "darts"],
            "too large for a table; give --predictor",
        ),
        (["--max-latency", "9ms@board", "--hardware", "nothing.csv"], "cannot be read"),
        (
            ["--max-latency", "9ms@board", "--hardware", __file__],
            "needs a column `architecture` and columns DEVICE_lat",
        ),
        (["--pareto", "flops"], "pruning ends with one; take --strategy evolve or exhaustive"),
        (["--pareto", "speed", "--strategy", "evolve"], "takes one of latency, energy, parameters, flops"),
        (["--pareto", "flops@board", "--strategy", "evolve"], "has no device"),
        (["--measure-latency", "0"], "a batch from 1 to"),
        (["--predictor", "nothing.py:f"], "cannot be read"),
    ],
)
def test_nonsense_is_one_sentence(arguments, part, table, tmp_path, capsys):
    arguments = [str(table) if word == "TABLE" else word for word in arguments]
    assert search.main([*arguments, "--output", str(tmp_path / "run")]) == 2
    output = capsys.readouterr()
    assert part in output.err.splitlines()[-1]
    assert output.out == ""
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("architecture,a_latency_ms\nx,1\n", "holds no latency on a of an architecture of nasbench201"),
        ("architecture,a_latency_ms\nx,fast\n", "line 2 of .* has 'fast' as a_latency_ms; a finite number from 0"),
        ("architecture,a_latency_ms\nx,-1\n", "line 2 of .* has '-1'"),
        ("architecture,a_latency_s\nx,1\n", "needs a column `architecture` and columns DEVICE_latency_ms"),
    ],
)
def test_tables_that_are_none(text, part, tmp_path, capsys):
    (tmp_path / "t.csv").write_text(text)
    argv = ["--hardware", str(tmp_path / "t.csv"), "--max-latency", "1ms", "--output", str(tmp_path / "run")]
    assert search.main(argv) == 2
    assert re.search(part, capsys.readouterr().err)


def test_an_architecture_that_a_table_lacks_meets_no_limit(tmp_path, table, capsys):
    lines = table.read_text().splitlines(keepends=True)
    (tmp_path / "t.csv").write_text("".join(lines[:101]))
    config = search._arguments(
        ["--hardware", str(tmp_path / "t.csv"), "--max-latency", "1000ms@board", "--strategy", "evolve"]
    )
    found = asked(config, NAS_BENCH_201)
    assert found.budget is not None
    assert found.budget.meet(NAS_BENCH_201, EVERYTHING).sum() == 100
    assert "has no latency on board of 15,525 of 15,625 architectures: they meet no limit" in capsys.readouterr().err


PAGE = (Path(__file__).parents[2] / "docs" / "how_to" / "hardware.md").read_text()
COMMANDS = re.findall(r"^python -m tenas_jax.search (.*)$", PAGE, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_of_the_page_are_understood(command, table, tmp_path, monkeypatch):
    """With devices of another table and a predictor of another space."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("def milliseconds(masks, space):\n    return 1.0 + masks[..., 1].sum((1, 2))\n")
    (tmp_path / "hw_nas_bench.csv.gz").write_bytes(gzip.compress(table.read_bytes()))
    words = command.replace("raspi4", "board").replace("5ms@edgegpu", "5ms@chip").replace("edgegpu", "board")
    config = search._arguments(shlex.split(words))
    check_limits(config)
    found = asked(config, DARTS if config.space == "darts" else NAS_BENCH_201)
    assert found.budget or found.pareto or found.measured


def test_the_published_table():
    path = os.environ.get("TENAS_HW_NASBENCH201")
    if not path or not Path(path).exists():
        pytest.skip("TENAS_HW_NASBENCH201 names no table")
    table = read_hardware(Path(path))
    assert set(table.devices("energy")) == {"edgegpu", "eyeriss", "fpga"}
    values = table.measure("latency", "raspi4").values(NAS_BENCH_201, EVERYTHING)
    assert np.isfinite(values).all()
