"""Evolution on scores whose optimum is known."""

import jax
import numpy as np
import pytest

from tenas_jax import DARTS, NAS_BENCH_201
from tenas_jax.networks import cost
from tenas_jax.scores.ranks import log_rank_sum
from tenas_jax.search.budget import Budget
from tenas_jax.search.evolution import Evolution, first_generation, goodness, init, mutate, next_generation, steps
from tenas_jax.spaces.nasbench101 import NAS_BENCH_101

SMALL = Evolution(population=16, tournament=5, children=8, evaluations=240)


def weighed(weights):
    """A score that is a sum over edges."""
    return {"lower_is_better": {"sum": False}, "score": lambda masks: {"sum": (masks * weights).sum((1, 2, 3))[None]}}


def evolved(space, weights, settings=SMALL, budget=None):
    """The whole history, and its scores."""
    start = init(space)
    *_, last = steps(jax.random.key(0), start, space=space, settings=settings, budget=budget, **weighed(weights))
    return last.choices, last.scores["sum"][0]


def spelled_out(space, weights, settings):
    """What an evolution scores, generation by generation."""
    key = jax.random.key(0)

    def score(choices):
        return {"sum": (space.one_hot(choices) * weights).sum((1, 2, 3))}

    history = first_generation(jax.random.fold_in(key, 0), space, settings)
    generation = 0
    while len(history) < settings.evaluations:
        generation += 1
        good = goodness({"sum": score(history)["sum"][None]}, {"sum": False}, history, space)
        young = next_generation(jax.random.fold_in(key, generation), history, good, space, settings)
        if not len(young):
            break
        history = np.concatenate([history, young])
    return history, score(history)["sum"]


def test_steps_are_those_spelled_out_from_wherever_they_begin(rng):
    weights = rng.normal(size=NAS_BENCH_201.mask_shape)
    choices, scores = spelled_out(NAS_BENCH_201, weights, SMALL)
    options = {"space": NAS_BENCH_201, "settings": SMALL, **weighed(weights)}
    histories = list(steps(jax.random.key(0), init(NAS_BENCH_201), **options))
    np.testing.assert_array_equal(histories[-1].choices, choices)
    np.testing.assert_allclose(histories[-1].scores["sum"][0], scores)
    assert [history.generations for history in histories] == list(range(1, len(histories) + 1))
    again = list(steps(jax.random.key(0), histories[4], **options))
    assert len(again) == len(histories) - 5
    np.testing.assert_array_equal(again[-1].choices, choices)
    np.testing.assert_array_equal(again[-1].best, choices[np.argmax(again[-1].good)])
    assert list(steps(jax.random.key(0), again[-1], **options)) == []


def test_it_finds_what_is_best(rng):
    weights = rng.normal(size=NAS_BENCH_201.mask_shape)
    history, scores = evolved(NAS_BENCH_201, weights)
    assert len(history) == SMALL.evaluations
    everything = (np.stack(list(NAS_BENCH_201.enumerate())) * weights).sum((1, 2, 3))
    best_of_random = np.mean([rng.choice(everything, SMALL.evaluations).max() for _ in range(20)])
    assert scores.max() == pytest.approx(everything.max())
    assert best_of_random < everything.max()


@pytest.mark.parametrize("space", [NAS_BENCH_201, DARTS, NAS_BENCH_101], ids=lambda space: space.name)
def test_nothing_is_scored_twice_and_all_are_architectures(rng, space):
    history, _ = evolved(space, rng.normal(size=space.mask_shape), SMALL._replace(evaluations=80))
    assert len({choice.tobytes() for choice in history}) == len(history) == 80
    for choice in history:
        assert space.parse(space.format(space.one_hot(choice))).shape == space.mask_shape


@pytest.mark.parametrize(
    ("space", "budget"), [(NAS_BENCH_201, Budget(flops=60_000_000)), (DARTS, Budget(parameters=2_500_000))]
)
def test_all_meet_the_limits(rng, space, budget):
    weights = np.asarray(cost.prices(space, space.skeleton("trained"), 32)[1].flops, float)
    history, scores = evolved(space, weights, SMALL._replace(evaluations=80), budget)
    assert budget.meet(space, space.one_hot(history)).all()
    assert scores[-16:].mean() > scores[:16].mean(), "it climbs towards the limit"


def test_a_mutation_is_one_step_away(rng):
    for space in (NAS_BENCH_201, DARTS):
        choice = space.sample(jax.random.key(0), 1).argmax(-1)[0]
        kinds = set()
        for _ in range(60):
            child = mutate(rng, choice, space)
            changed = int((child != choice).sum())
            kinds.add(changed)
            space.format(space.one_hot(child))
        assert kinds == ({1} if space is NAS_BENCH_201 else {1, 2})


def test_a_small_space_ends_the_evolution(rng):
    """All that meet the limits have been seen: no endless search for another child."""
    least = int(cost.flops(NAS_BENCH_201, np.stack(list(NAS_BENCH_201.enumerate()))).min())
    history, _ = evolved(NAS_BENCH_201, rng.normal(size=(1, 6, 5)), SMALL, Budget(flops=least))
    free = np.stack(list(NAS_BENCH_201.enumerate()))
    assert len(history) <= Budget(flops=least).meet(NAS_BENCH_201, free).sum() < 15_625


def test_alternatives_leave_out_none_only_where_inputs_are_chosen():
    assert NAS_BENCH_201.alternatives().all()
    assert not DARTS.alternatives()[..., 0].any()


def test_neighbours_have_a_say_in_a_space_that_can_be_gone_through(rng):
    """One architecture is the best by an unlucky draw, far from all that are good."""
    weights = rng.normal(size=NAS_BENCH_201.mask_shape)
    masks = NAS_BENCH_201.enumerated()
    history, values = masks.argmax(-1), (masks * weights).sum((1, 2, 3))
    worst, best = np.argmin(values), np.argmax(values)
    values[worst] = values.max() + 1
    by_draw = {"sum": values[None]}
    assert np.argmax(log_rank_sum(by_draw, {"sum": False})) == worst
    assert np.argmax(goodness(by_draw, {"sum": False}, history, NAS_BENCH_201)) == best
    some = DARTS.sample(jax.random.key(0), 30).argmax(-1)
    few = {"sum": rng.normal(size=(2, 30))}
    np.testing.assert_array_equal(goodness(few, {"sum": False}, some, DARTS), log_rank_sum(few, {"sum": False}))
