"""Budget on cost against brute force: going through every architecture of a mask."""

import itertools

import jax
import numpy as np
import pytest
from conftest import scored_by

from tenas_jax import DARTS, NAS_BENCH_201, InputError
from tenas_jax.networks import cost
from tenas_jax.search import contest, pruner
from tenas_jax.search.budget import Budget

ALL_COSTS = cost.costs(NAS_BENCH_201, np.stack(list(NAS_BENCH_201.enumerate())))


def held(mask):
    """Every single architecture that a NAS-Bench-201 mask holds."""
    edges = [np.flatnonzero(alive) for alive in mask[0]]
    return NAS_BENCH_201.one_hot(np.array(list(itertools.product(*edges)))[:, None])


def random_mask(rng):
    mask = rng.random(NAS_BENCH_201.mask_shape) < 0.5
    mask[..., 1] |= ~mask.any(-1)
    return mask


LIMITS = [Budget(parameters=500_000), Budget(flops=60_000_000), Budget(parameters=500_000, flops=40_000_000)]


@pytest.mark.parametrize("budget", LIMITS)
def test_unaffordable_operators_are_in_no_architecture_that_meets_the_limits(rng, budget):
    for _ in range(5):
        mask = random_mask(rng)
        everything = held(mask)
        affordable = everything[budget.meet(NAS_BENCH_201, everything)].any(0) if len(everything) else ~mask
        gone = np.zeros_like(mask)
        gone[tuple(budget.unaffordable(NAS_BENCH_201, mask).T)] = True
        np.testing.assert_array_equal(gone, mask & ~affordable)


@pytest.mark.parametrize("budget", LIMITS)
def test_samples_meet_the_limits_and_show_every_operator(budget):
    mask = NAS_BENCH_201.supernet()
    mask[tuple(budget.unaffordable(NAS_BENCH_201, mask).T)] = False
    masks = NAS_BENCH_201.one_hot(budget.sample(jax.random.key(0), mask, 96, NAS_BENCH_201))
    assert budget.meet(NAS_BENCH_201, masks).all()
    np.testing.assert_array_equal(masks.any(0), mask)


def test_few_architectures_are_all_sampled(rng):
    budget = Budget(flops=60_000_000)
    mask = NAS_BENCH_201.one_hot(np.full((1, 6), 1)) | NAS_BENCH_201.one_hot(np.full((1, 6), 3))
    found = budget.sample(jax.random.key(0), mask, 64, NAS_BENCH_201)
    everything = held(mask)
    expected = everything[budget.meet(NAS_BENCH_201, everything)]
    assert 1 < len(expected) < 64
    np.testing.assert_array_equal(
        np.unique(found.reshape(len(found), -1), axis=0),
        np.unique(expected.argmax(-1).reshape(len(expected), -1), axis=0),
    )


def darts_cells(cell, mask, price):
    """The least price of a cell, by going through every choice of edges and operators, node by node."""
    total = 0
    for node in range(DARTS.inputs, DARTS.nodes):
        options = [
            sum(min(price[cell, e, o] for o in DARTS.carriers if mask[cell, e, o]) for e in edges)
            for edges in itertools.combinations(DARTS.entering(node), 2)
        ]
        total += min(options)
    return total


def test_cheapest_genotype_is_that_of_brute_force(rng):
    base, shares = cost.prices(DARTS, DARTS.skeleton("trained"), 32)
    mask = DARTS.supernet()
    mask[..., 1] = rng.random((2, 14)) < 0.3
    least = base.parameters + sum(darts_cells(cell, mask, shares.parameters) for cell in (0, 1))
    cheapest = Budget(parameters=int(least)).cheapest(DARTS, mask)
    assert cheapest is not None
    assert cost.parameters(DARTS, cheapest) == least
    assert Budget(parameters=int(least) - 1).cheapest(DARTS, mask) is None
    # Forced through the most expensive operator of an edge that it would not keep.
    forced = Budget(parameters=10**9).cheapest(DARTS, mask, (0, 13, 3))
    assert forced[0, 13, 3]
    assert DARTS.parse(DARTS.format(forced)).shape == DARTS.mask_shape


def test_genotypes_meet_the_limits():
    budget = Budget(parameters=2_500_000)
    masks = DARTS.one_hot(budget.sample(jax.random.key(0), DARTS.supernet(), 240, DARTS))
    assert budget.meet(DARTS, masks).all()
    assert not Budget(parameters=2_400_000).meet(DARTS, masks).all(), "they are near the limit"
    for mask in masks:
        DARTS.format(mask)
    np.testing.assert_array_equal(masks.any(0)[..., 1:], DARTS.supernet()[..., 1:])


@pytest.mark.parametrize("rule", ["completion", "removal"])
@pytest.mark.parametrize(("space", "budget"), [(NAS_BENCH_201, LIMITS[1]), (DARTS, Budget(parameters=2_500_000))])
def test_pruning_ends_below_the_limit(rng, space, budget, rule):
    indicators = [scored_by("condition_number", True, rng.normal(size=space.mask_shape))]
    mask, infos = pruner.prune(jax.random.key(0), space, indicators, rule=rule, paths=240, budget=budget)
    assert budget.meet(space, mask)
    space.format(mask)
    gone = sum(len(info.pruned) + len(info.unaffordable) for info in infos)
    assert gone == contest.surplus(space.supernet(), space)


def test_limits_that_bind_nothing_change_nothing(rng):
    indicators = [scored_by("condition_number", True, rng.normal(size=NAS_BENCH_201.mask_shape))]
    search = {"space": NAS_BENCH_201, "indicators": indicators, "rule": "removal"}
    free, _ = pruner.prune(jax.random.key(0), **search)
    bound, _ = pruner.prune(jax.random.key(0), **search, budget=Budget(parameters=10**9))
    np.testing.assert_array_equal(free, bound)


def test_limits_below_the_cheapest_are_refused():
    least = ALL_COSTS.parameters.min()
    Budget(parameters=int(least)).check(NAS_BENCH_201)
    with pytest.raises(
        InputError, match=f"`--max-params {least - 1}` is below .* \\({least:,} parameters\\); raise it to"
    ):
        Budget(parameters=int(least) - 1).check(NAS_BENCH_201)
    with pytest.raises(InputError, match="`--max-flops 1` is below"):
        pruner.prune(
            jax.random.key(0), NAS_BENCH_201, [scored_by("a", True, np.ones((1, 6, 5)))], budget=Budget(flops=1)
        )
