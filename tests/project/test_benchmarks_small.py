"""Helpers of the benchmark scripts that need no long run."""

import itertools
import json
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import shrink

import ntk_any_network as any_network
from common import fault_layers as layers
from common.architectures import random_architectures
from common.statistics import tau
from common.timing import seconds_in_turn, summary
from ntk_batch_statistics import rank_agreement
from tenas_jax.search import strategies
from tenas_jax.spaces.nasbench201 import NAS_BENCH_201
from tenas_jax.spaces.skeleton import Skeleton


def tau_by_pairs(x, y):
    """Tau-b by its definition: concordant minus discordant pairs, over the geometric mean of the untied ones."""
    sign = [np.array([np.sign(v[i] - v[j]) if v[i] != v[j] else 0 for i, j in PAIRS]) for v in (x, y)]
    return (sign[0] * sign[1]).sum() / np.sqrt((sign[0] != 0).sum() * (sign[1] != 0).sum())


PAIRS = list(itertools.combinations(range(6), 2))


def test_infinite_condition_numbers_are_tied_as_the_worst():
    first = np.array([3.0, np.inf, 2.0, 7.0, np.inf, 5.0])
    second = np.array([1.0, np.inf, 2.0, 9.0, 8.0, 6.0])
    assert tau(first, second) == pytest.approx(tau_by_pairs(first, second), abs=1e-12)
    assert tau(first, np.where(np.isinf(second), 1e9, second)) == pytest.approx(tau(first, second), abs=1e-12)


def test_rank_agreement_of_equal_rankings():
    kappa = np.array([[2.0, 5.0, 9.0, 30.0], [2.0, 9.0, 5.0, 30.0]])
    health = np.full(kappa.shape, "full rank", object)
    health[1, 3] = "rank-deficient"
    accuracy = np.array([94.0, 93.0, 90.0, 80.0])
    result = rank_agreement({"coupled": kappa, "frozen": 10 * kappa}, {"coupled": health, "frozen": health}, accuracy)
    assert result["coupled_with_frozen"]["mean"] == 1
    assert result["same_mode_with_another_seed"] == {"coupled": [0.6667], "frozen": [0.6667]}
    assert result["not_of_full_rank"]["coupled"] == [0, 1]
    assert result["low_condition_number_with_accuracy"]["coupled"]["maximum"] == 1
    assert result["coupled_minus_frozen_with_accuracy"]["mean"] == 0


def test_random_architectures_are_different_and_connected():
    masks = random_architectures(40)
    assert len({NAS_BENCH_201.format(mask) for mask in masks}) == 40
    assert all(NAS_BENCH_201.is_connected(mask) for mask in masks)
    np.testing.assert_array_equal(random_architectures(7), masks[:7])


def test_functions_are_timed_in_turn():
    calls = []
    functions = {name: lambda name=name: calls.append(name) for name in ("a", "b")}
    seconds = seconds_in_turn(functions, {"a": 3, "b": 1})
    assert calls == ["a", "b", "a", "a"]
    assert {name: rows.shape for name, rows in seconds.items()} == {"a": (3, 2), "b": (1, 2)}


def test_summary_of_seconds():
    found = summary(np.array([[3.0, 1.0], [1.23456, 1.0], [2.0, 4.0]]))
    assert found == {"seconds": 2.0, "processor_seconds": 1.0, "repeats": 3, "all_seconds": [3.0, 1.235, 2.0]}


def test_compared_masks_are_a_supernet_a_part_of_it_and_one_architecture():
    pytest.importorskip("torch", reason="PyTorch is not installed (extra `bench`)")
    from score_beside_pytorch import masks

    supernet, half, single = masks().values()
    assert (supernet.sum(-1) == 4).all()
    assert (half.sum(-1) == 2).all()
    assert not (half & ~supernet).any()
    NAS_BENCH_201.format(single)


def test_any_network_is_timed_in_processes_of_its_own():
    options = ["--networks", "resnet8", "--batch", "2", "--side", "8", "--repeats", "2", "--rounds", "1"]
    options += ["--ways", "ours", "neural_tangents_2", "--large-batch", "0", "--name", ""]
    content = any_network.main(options)
    results = content["networks"]["resnet8"]
    assert list(results) == ["ours", "neural_tangents_2"]
    for result in results.values():
        assert result["relative_difference"] < 1e-4
        assert 0 < result["minimum_seconds"] <= result["median_seconds"]
        assert len(result["all_seconds"]) == 2
        assert len(result["load_before"]) == 1
        assert result["peak_mebibytes"] >= result["peak_mebibytes_before"] > 0
        assert "kernel" not in result


def test_processes_of_one_way_are_summed_up():
    def process(seconds, **others):
        sizes = {"first_run_seconds": 9.0, "peak_mebibytes": 70, "peak_mebibytes_before": 50, "load_before": 0.5}
        return {"all_seconds": seconds, "kernel": [[1.0]], **sizes, **others}

    found = any_network.summary(
        [process([4.0, 1.0, 2.0]), process([8.0, 6.0, 7.0], peak_mebibytes=80, load_before=2.5)]
    )
    assert (found["minimum_seconds"], found["median_seconds"], found["peak_mebibytes"]) == (1, 5, 80)
    assert found["load_before"] == [0.5, 2.5]
    failed = {"failed": "not finished after 3 s", "load_before": 0.1}
    assert any_network.summary([process([1.0]), failed]) == failed


def test_speed_of_a_ranking_beside_pytorch(monkeypatch):
    pytest.importorskip("torch", reason="PyTorch is not installed (extra `bench`)")
    from rank_speed import main

    shrink(monkeypatch, kernels={"skeleton": Skeleton(channels=16, cells=1, stages=1)})

    content = main(["--architectures", "3", "--repeats", "1", "--name", ""])
    assert content["architectures"] == 3
    assert content["ours"]["seconds"] > 0
    assert content["ratio"] == pytest.approx(content["pytorch"]["seconds"] / content["ours"]["seconds"], rel=0.2)


def test_the_exponent_of_a_power():
    from score_cost import slope

    assert slope([2, 4, 8], [12.0, 48.0, 192.0]) == 2
    assert slope([1, 2], [5.0, 2.5]) == -1


def test_the_released_search_goes_on_candidate_by_candidate(monkeypatch, tmp_path):
    import search_released

    done, stop = search_released.Journal.done, []
    monkeypatch.setattr(
        strategies, "kernels_beside", lambda *arguments: {}
    )  # of the report: nothing that is asked here

    def stopping(self, candidate):
        done(self, candidate)
        stop.append(1)
        if len(stop) == 31:
            raise KeyboardInterrupt

    def run(folder):
        folder.mkdir(exist_ok=True)
        with layers.cheap():
            search_released.ours_whole(SimpleNamespace(folder=folder, data=None, seed=0))
        return json.loads((folder / "nasbench201_ours.json").read_text())

    with monkeypatch.context() as patch:
        patch.setattr(search_released.Journal, "done", stopping)
        with pytest.raises(SystemExit):
            run(tmp_path / "a")
    stopped, whole = run(tmp_path / "a"), run(tmp_path / "b")
    assert stopped["architecture"] == whole["architecture"]
    assert [r["candidates"] for r in whole["rounds"]] == [24, 18, 12]
    # At its end a search scores what it has found beside random architectures, by each of both indicators.
    assert len(stopped["candidates"]) == len(whole["candidates"]) == 2 * (24 + 18 + 12) + 2
    for one, other in zip(stopped["candidates"], whole["candidates"], strict=True):
        assert (one["question"], one["values"]) == (other["question"], other["values"])


def test_searches_from_a_table_of_draws_find_what_is_best_there(rng):
    import search_draws as script

    masks = NAS_BENCH_201.enumerated()
    goodness = (masks * rng.normal(size=NAS_BENCH_201.mask_shape)).sum((1, 2, 3))
    values = {name: np.exp(goodness * (-1 if lower else 1))[None] for name, lower in script.LOWER.items()}
    table = script.Drawn(masks, values, goodness)
    np.testing.assert_array_equal(table.places(masks[::-7]), np.arange(len(masks))[::-7])
    assert script.gone_through(table, 1, seed=0) == script.evolved_from(table, 1, seed=0) == goodness.max()
    # Of a sum over edges the mean of the neighbours is a line of the value itself.
    assert script.weighted(table, 0, seed=0) == script.weighted(table, 4, seed=0) == goodness.max()
    # Pruning sees no architecture with "none".
    carried = ~masks[..., NAS_BENCH_201.none].any((1, 2))
    assert script.pruned(table, 48, seed=0) == goodness[carried].max()
