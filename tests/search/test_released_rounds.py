"""The released preset decides as the released code: random first rounds, ties included, beside the PyTorch reference."""

import jax
import numpy as np
import pytest

from tenas_jax.scores.indicators import Indicator, Scores
from tenas_jax.scores.presets import preset
from tenas_jax.search import pruner
from tenas_jax.spaces.registry import SPACES

pytest.importorskip("torch", reason="PyTorch is not installed (extra `bench`)")
from pytorch import search as reference

GRIDS = (2, 5, 40, 10**6)  # different values of a score in a round: from nearly all tied to none


def random_scores(rng, count):
    """Scores (count, repeats, 2) of supernet and candidate; the fewer values there are, the more changes are equal."""
    steps = int(rng.choice(GRIDS))
    before = 100 * (1 + rng.integers(steps, size=(1, reference.REPEATS)) / steps)
    after = before * (0.5 + rng.integers(steps, size=(count, reference.REPEATS)) / steps)
    return np.stack([np.broadcast_to(before, after.shape), after], axis=-1)


def ours(space, settings, kappas, regions):
    """The mask after a step of the released preset whose scores are given, a candidate after the other."""

    def given(name, lower_is_better, scores):
        rest = iter(scores)
        health = np.full((reference.REPEATS, 2), "counted")
        return Indicator(name, lower_is_better, lambda key, masks: Scores(next(rest), health))

    state, info = pruner.step(
        KEY, pruner.init(space), space=space, rule=settings.rule, fresh=settings.fresh,
        prune_number=settings.prune_number,
        indicators=[given("condition_number", True, kappas), given("linear_regions", False, regions)],
    )  # fmt: skip
    return state.mask, info


KEY = jax.random.key(0)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "rounds"), [("nasbench201", 1900), ("darts", 100)])
def test_random_first_rounds_end_as_the_reference_ends_them(name, rounds, monkeypatch):
    monkeypatch.setattr(jax.random, "fold_in", lambda key, data: key)  # scores are given: nothing is drawn
    space, settings = SPACES[name], preset("released", space=SPACES[name])
    mask = space.supernet()
    operators = reference.candidates(mask)
    by_mask_order = 0
    for seed in range(rounds):
        rng = np.random.default_rng(seed)
        kappas, regions = random_scores(rng, len(operators)), random_scores(rng, len(operators))
        scored = [
            reference.Candidate(
                operator,
                float(np.mean([reference.relative_change(*pair) for pair in kappa])),
                float(np.mean([reference.relative_change(*pair) for pair in count])),
                kappa.tolist(), count.tolist(), 0.0,
            )
            for operator, kappa, count in zip(operators, kappas, regions, strict=True)
        ]  # fmt: skip
        expected = reference.prune(mask, scored, reference.PRUNE_NUMBER[name])
        found, info = ours(space, settings, kappas, regions)
        np.testing.assert_array_equal(found, expected, err_msg=f"round {seed}")
        by_mask_order += goes_by_mask_order(info) != sorted(map(tuple, np.argwhere(mask & ~expected).tolist()))
    # Without the reference's order of equal sums of ranks these would have come out otherwise: the test can see it.
    assert by_mask_order > rounds / 10


def goes_by_mask_order(info):
    """What would go if equal sums went in the order of the mask."""
    number = len(info.pruned) // len({tuple(edge) for edge in info.candidates[:, :2].tolist()})
    gone = []
    for edge in np.unique(info.candidates[:, :2], axis=0):
        members = np.flatnonzero((info.candidates[:, :2] == edge).all(1))
        gone += info.candidates[members[np.argsort(info.total[members], kind="stable")[:number]]].tolist()
    return sorted(map(tuple, gone))
