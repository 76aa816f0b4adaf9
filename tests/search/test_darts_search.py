"""The search on DARTS: operators go from every edge, then edges from every node."""

import json

import jax
import numpy as np
import pytest
from conftest import EXTENSIVE, scored_by, shrink
from hypothesis import given, settings
from hypothesis import strategies as st

from tenas_jax.errors import InputError
from tenas_jax.scores import presets
from tenas_jax.scores.catalogue import chosen_scores
from tenas_jax.scores.indicators import Indicator, Scores
from tenas_jax.search import command as search
from tenas_jax.search import contest, pruner, strategies
from tenas_jax.spaces.darts import DARTS
from tenas_jax.spaces.nasbench201 import NAS_BENCH_201
from tenas_jax.spaces.sampling import genotypes

KEY = jax.random.key(0)
NONE = DARTS.operators.index("none")


def indicators(seed=0):
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(2, *DARTS.mask_shape)) / 5
    return [scored_by("condition_number", True, weights[0]), scored_by("linear_regions", False, weights[1])]


MASKS = st.lists(st.sets(st.integers(1, 7), min_size=1, max_size=7), min_size=28, max_size=28).map(
    lambda edges: np.array([[o in alive for o in range(8)] for alive in edges]).reshape(2, 14, 8)
)


@settings(max_examples=40, deadline=None)
@given(mask=MASKS, count=st.integers(35, 120), seed=st.integers(0, 99))
def test_sampled_genotypes_are_valid_and_balanced(mask, count, seed):
    choices = genotypes(jax.random.key(seed), mask, count, DARTS)
    assert choices.shape == (count, 2, 14)
    for one in choices[:5]:
        assert np.array_equal(DARTS.choice(DARTS.parse(DARTS.format(DARTS.one_hot(one)))), one)
    for cell, node in np.ndindex(2, 4):
        edges = DARTS.entering(node + 2)
        kept = choices[:, cell, edges] != NONE
        assert (kept.sum(1) == 2).all()
        for edge, rows in zip(edges, kept.T, strict=True):
            seen = np.bincount(choices[rows, cell, edge], minlength=8)
            assert (seen[~mask[cell, edge]] == 0).all()
            held = seen[mask[cell, edge]]
            assert held.min() >= 1
            assert held.max() - held.min() <= 1
    np.testing.assert_array_equal(choices, genotypes(jax.random.key(seed), mask, count, DARTS))


def test_too_few_genotypes_are_refused():
    with pytest.raises(InputError, match="`paths` is 10, too few"):
        genotypes(KEY, DARTS.supernet(), 10, DARTS)


@pytest.mark.parametrize("rule", ["completion", "removal"])
@pytest.mark.parametrize(
    ("number", "operators"), [(3, [84, 84]), (2, [56, 56, 56]), (5, [140, 28]), (6, [168]), (1000, [168])]
)
def test_rounds_of_operators_then_of_edges(rule, number, operators):
    """7, 4, 1 operators an edge with prune number 3; the last one always stays; then 1, 2 and 3 edges of three nodes."""
    mask, infos = pruner.prune(KEY, DARTS, indicators(), rule=rule, prune_number=number, paths=60)
    assert [len(info.pruned) for info in infos] == [*operators, *([1, 2, 3] * 2)]
    assert [len(info.candidates) for info in infos[-6:]] == [3, 4, 5] * 2
    for info, (cell, node) in zip(infos[-6:], [(c, n) for c in (0, 1) for n in (3, 4, 5)], strict=True):
        assert info.candidates[:, :2].tolist() == [[cell, edge] for edge in DARTS.entering(node)]
    assert DARTS.parse(DARTS.format(mask)).tolist() == mask.tolist()
    left = contest.surplus(DARTS.supernet(), DARTS)
    assert left == sum(operators) + 12
    assert contest.surplus(mask, DARTS) == 0


def test_edges_go_by_the_sum_of_ranks_within_their_node():
    """Node 4 of the normal cell: changes by hand; what its loss improves or harms least goes, two stay."""
    mask = DARTS.one_hot(np.full((2, 14), 2))
    for edge in (2, 3, 4):
        mask[0, edge] = DARTS.one_hot(np.array(2 if edge < 4 else NONE))
    kappa = {5: 90.0, 6: 110.0, 7: 100.0, 8: 120.0}
    regions = {5: 50.0, 6: 100.0, 7: 90.0, 8: 40.0}

    def by_dropped(table):
        def evaluate(key, masks):
            values = [[next((v for e, v in table.items() if m[0, e, NONE]), 100.0) for m in masks]] * 3
            return Scores(np.array(values), np.full((3, len(masks)), "counted"))

        return evaluate

    both = [
        Indicator("condition_number", True, by_dropped(kappa), program=None),
        Indicator("linear_regions", False, by_dropped(regions), program=None),
    ]
    for fresh in (False, True):
        state, info = pruner.step(
            KEY, pruner.State(mask, 5), space=DARTS, indicators=both, rule="removal", fresh=fresh, prune_number=3
        )
        assert info.candidates.tolist() == [[0, 5, 2], [0, 6, 2], [0, 7, 2], [0, 8, 2]]
        np.testing.assert_allclose(info.changes["condition_number"], [-0.1, 0.1, 0.0, 0.2])
        assert info.ranks["condition_number"].tolist() == [0, 2, 1, 3]
        assert info.ranks["linear_regions"].tolist() == [2, 0, 1, 3]
        assert info.total.tolist() == [2, 2, 2, 6]
        # Of equal sums the better condition numbers, as the released code's stable sort leaves them.
        assert info.pruned.tolist() == [[0, 5, 2], [0, 7, 2]]
        assert state.mask[0, [5, 7], NONE].all()
        assert (state.mask.sum(-1) == 1).all()
        assert state.mask[0, [6, 8], 2].all()


def test_completion_keeps_the_edges_and_operators_of_an_additive_score():
    values = np.random.default_rng(3).permuted(np.tile(np.arange(1.0, 9.0), (2, 14, 1)), axis=2)
    values[..., NONE] = 0
    values *= np.random.default_rng(4).permutation(np.arange(1.0, 15.0))[:, None]

    def evaluate(key, masks):
        total = 1 + (masks * values).sum((1, 2, 3))[None]
        return Scores(total, np.full(total.shape, "counted"))

    mask, _ = pruner.prune(
        KEY, DARTS, [Indicator("linear_regions", False, evaluate, None)], paths=20_000, prune_number=3
    )
    best = values.argmax(-1)
    for cell, node in np.ndindex(2, 4):
        edges = np.array(DARTS.entering(node + 2))
        kept = edges[np.argsort(values[cell, edges].max(-1))[-2:]]
        assert set(edges[~mask[cell, edges, NONE]]) == set(kept)
        assert mask[cell, kept, best[cell, kept]].all()


@pytest.fixture
def cheap(monkeypatch):
    """Searches take no kernels and no time."""
    monkeypatch.setattr(strategies, "indicators", lambda *arguments, repeats: indicators())
    monkeypatch.setattr(strategies, "kernels_beside", lambda *arguments: {})


def run(capsys, *argv):
    assert search.main(["--space", "darts", *map(str, argv)]) == 0
    return capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize("preset", ["default", "paper", "released"])
def test_result_is_a_genotype_and_json(cheap, tmp_path, capsys, preset):
    architecture = run(capsys, "--preset", preset, "--output", tmp_path / "run")
    assert architecture.startswith("Genotype(normal=[('")
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["architecture"] == architecture
    assert DARTS.format(DARTS.parse(json.dumps(result["genotype"]))) == architecture
    assert result["rounds"] == 8
    assert result["config"]["settings"]["prune_number"] == 3
    rounds = [json.loads(line) for line in (tmp_path / "run" / "rounds.jsonl").read_text().splitlines()]
    assert [len(r["pruned"]) for r in rounds] == [84, 84, 1, 2, 3, 1, 2, 3]
    assert {c["cell"] for c in rounds[0]["candidates"]} == {"normal", "reduce"}
    assert run(capsys, "--preset", preset, "--output", tmp_path / "run") == architecture  # finished


def test_resumes_from_every_prefix(cheap, tmp_path, capsys):
    architecture = run(capsys, "--output", tmp_path / "whole")
    lines = (tmp_path / "whole" / "rounds.jsonl").read_bytes().splitlines(keepends=True)
    for number, line in enumerate(lines):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "config.json").write_bytes((tmp_path / "whole" / "config.json").read_bytes())
        (folder / "rounds.jsonl").write_bytes(b"".join(lines[:number]) + line[: len(line) // 2])
        assert run(capsys, "--output", folder) == architecture
        pruned = [json.loads(text)["pruned"] for text in (folder / "rounds.jsonl").read_text().splitlines()]
        assert pruned == [json.loads(text)["pruned"] for text in lines]


def test_prune_number_and_data_set_decide_the_rounds(cheap, tmp_path, capsys, rng):
    np.savez(tmp_path / "own.npz", x=rng.integers(256, size=(60, 32, 32, 3), dtype=np.uint8))
    own = ("--data", tmp_path / "own.npz")
    cases = {"own": own, "imagenet": (*own, "--dataset", "imagenet"), "all": ("--prune-number", 40)}
    rounds = {}
    for name, argv in cases.items():
        run(capsys, *argv, "--output", tmp_path / name)
        rounds[name] = json.loads((tmp_path / name / "result.json").read_text())["rounds"]
    assert rounds == {"own": 2 + 6, "imagenet": 3 + 6, "all": 1 + 6}


def kernel_and_patterns(chosen):
    kernel, patterns = (DARTS.scores[name].work for name in chosen.scores)
    return kernel, patterns


def test_presets_of_the_space():
    released = presets.preset("released", space=DARTS)
    kernel, patterns = kernel_and_patterns(released)
    assert (kernel.images, kernel.skeleton.channels, released.prune_number) == (14, 1, 3)
    assert (kernel.batch_stats, kernel.fan, released.rule, released.fresh) == ("coupled", "fan_out", "removal", True)
    for name in ("imagenet", "imagenet16-120"):
        released = presets.preset("released", space=DARTS, dataset=name)
        assert (kernel_and_patterns(released)[0].images, released.prune_number) == (24, 2)
        assert presets.preset("default", space=DARTS, dataset=name).prune_number == 2
    kernel, patterns = kernel_and_patterns(presets.preset("paper", space=DARTS))
    assert (kernel.images, patterns.samples * patterns.batches) == (32, 5000)
    assert presets.preset("released", space=DARTS, dataset="imagenet", prune_number=4).prune_number == 4
    assert presets.preset("released", dataset="imagenet16-120") == NAS_BENCH_201.family.presets["released"]
    chosen = presets.preset("default", "analytic", space=DARTS)
    assert chosen_scores(DARTS, chosen.scores, "analytic")["condition_number"].work.ntk == "analytic"


def test_bad_input_is_one_sentence(tmp_path, capsys, rng):
    def refused(*argv):
        assert search.main([*map(str, argv), "--output", str(tmp_path / "run")]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        return err

    assert "darts" in refused("--space", "dart")
    for number in (0, -3):
        assert "--prune-number must be" in refused("--space", "darts", "--prune-number", number)
    assert "invalid int" in refused("--space", "darts", "--prune-number", "some")
    for height, width in [(2, 2), (1, 8), (8, 1)]:
        path = tmp_path / f"{height}x{width}.npz"
        np.savez(path, x=rng.integers(256, size=(60, height, width, 3), dtype=np.uint8))
        if min(height, width) < 2:  # the default's patches are of 2 x 2 pixels
            assert f"{height}x{width}" in refused("--space", "darts", "--data", path)
        assert "`patch` must fit" in refused("--space", "darts", "--data", path, "--preset", "released")
    np.savez(tmp_path / "few.npz", x=rng.integers(256, size=(5, 32, 32, 3), dtype=np.uint8))
    assert "holds 5" in refused("--space", "darts", "--data", tmp_path / "few.npz", "--preset", "released")
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match="prune number"):
        pruner.prune(KEY, DARTS, indicators(), prune_number=0)


@pytest.mark.parametrize("preset", ["default", pytest.param("released", marks=EXTENSIVE)])
def test_search_with_real_indicators(monkeypatch, tmp_path, capsys, preset):
    kernels = {"images": 4, "side": 4, "skeleton": DARTS.skeleton("ntk")}
    patterns = {"samples": 30, "batches": 1, "skeleton": DARTS.skeleton("regions")}
    shrink(monkeypatch, kernels=kernels, patterns=patterns, paths=36, repeats=1, fresh=False)
    made = []
    build = strategies.indicators
    monkeypatch.setattr(strategies, "indicators", lambda *args, **options: made.extend(build(*args, **options)) or made)
    architecture = run(capsys, "--preset", preset, "--prune-number", 6, "--output", tmp_path / "run")
    assert DARTS.format(DARTS.parse(architecture)) == architecture
    # The default goes by expressivity alone.
    assert [indicator.program.compilations for indicator in made] == [1] * (1 if preset == "default" else 2)
    for line in (tmp_path / "run" / "rounds.jsonl").read_text().splitlines():
        for candidate in json.loads(line)["candidates"]:
            scores = candidate["scores"]
            if preset == "default":  # completion: the mean of log det(K + I), at most 30 log(1 + trace / 30)
                neurons = 3000
                assert 0 < scores["hamming_log_determinant"] <= 30 * np.log1p(neurons)
            else:
                assert 1 <= scores["linear_regions_released"] <= 30
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["rounds"] == 7
    assert result["compile_seconds"] > 0
