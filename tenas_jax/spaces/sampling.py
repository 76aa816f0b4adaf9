"""Single architectures that a mask still holds, drawn so that each operator is seen equally often."""

import itertools

import numpy as np
from jaxtyping import Array, Int, Key

from tenas_jax.errors import InputError
from tenas_jax.spaces.cell_graph import CellGraph, Mask
from tenas_jax.spaces.space import host_generator

MOST_ATTEMPTS = 50  # at a sample of valid architectures


def architectures(key: Key[Array, ""], mask: Mask, count: int, space: CellGraph) -> Int[np.ndarray, "m cells edges"]:
    """Single architectures that a mask still holds, by `completions` or, where nodes choose their inputs, `genotypes`.

    Args:
        key: decides the sample.
        mask: the operators that are alive.
        count: at most so many.
        space: the search space.

    Raises:
        InputError: where `count` is so small that an operator would go unseen, or no valid architecture has it.
    """
    if space.chooses_inputs:
        return genotypes(key, mask, count, space)
    return completions(key, mask, count) if space.validity is None else _valid(key, mask, count, space)


def impossible(key: Key[Array, ""], mask: Mask, count: int, space: CellGraph) -> Int[np.ndarray, "u 3"]:
    """Options that are alive and in no valid architecture that was drawn, though they were asked for: cell, edge, operator.

    Args:
        key: decides the sample.
        mask: the options that are alive.
        count: architectures of one sample.
        space: the search space.

    Raises:
        InputError: where no valid architecture is found at all.
    """
    if space.validity is None:
        return np.zeros((0, 3), int)
    unseen = _unseen(mask, valid_completions(key, mask, count, space), space)
    gone = [place for place in unseen if not len(valid_completions(key, holding_one(mask, place), count, space))]
    return np.array(gone, int).reshape(-1, 3)


def _valid(key, mask: Mask, count: int, space: CellGraph) -> Int[np.ndarray, "m cells edges"]:
    """Those of several balanced samples that are valid, and one for every option that none of them holds."""
    found = valid_completions(key, mask, count, space)
    for place in _unseen(mask, found, space):
        held = valid_completions(key, holding_one(mask, place), count, space)
        if not len(held):
            cell, edge, operator = place
            raise InputError(
                f"no valid architecture of {space.name} with {space.operators[operator]} as {space.where(cell, edge)} was "
                "drawn; raise `paths`, or take --strategy evolve."
            )
        found = np.concatenate([found, held[:1]])
    return found


def holding_one(mask: Mask, place: tuple[int, int, int]) -> Mask:
    """A mask with one option of a decision only.

    Args:
        mask: the options that are alive.
        place: cell, edge and operator.
    """
    cell, edge, operator = place
    held = mask.copy()
    held[cell, edge] = np.arange(mask.shape[-1]) == operator
    return held


def _unseen(mask: Mask, choices: Int[np.ndarray, "m cells edges"], space: CellGraph) -> list[tuple[int, int, int]]:
    if not len(choices):
        raise InputError(f"no valid architecture of {space.name} was drawn from what is left; take --strategy evolve.")
    return [(c, e, o) for c, e, o in np.argwhere(mask & ~space.one_hot(choices).any(0)).tolist()]


def valid_completions(key, mask: Mask, count: int, space: CellGraph) -> Int[np.ndarray, "m cells edges"]:
    """At most so many valid architectures, each once; none where hardly one is valid.

    Args:
        key: decides the sample.
        mask: the options that are alive.
        count: at most so many, and no fewer than a decision has options.
        space: the search space.
    """
    import jax

    found = np.zeros((0, *mask.shape[:2]), int)
    for attempt in range(MOST_ATTEMPTS):
        drawn = completions(jax.random.fold_in(key, attempt), mask, count)
        found = np.concatenate([found, drawn[space.valid(space.one_hot(drawn))]])
        found = found[np.sort(np.unique(found, axis=0, return_index=True)[1])][:count]
        if len(found) == count or len(drawn) < count:
            break
    return found


def completions(key: Key[Array, ""], mask: Mask, count: int) -> Int[np.ndarray, "m cells edges"]:
    """Single architectures that a mask still holds: all of them where there are at most `count`, else a balanced sample.

    In a sample every edge goes through its alive operators in turn, in random order, so that each is seen equally often.

    Args:
        key: decides the sample.
        mask: the operators that are alive.
        count: at most so many.

    Returns:
        Operator numbers (m, cells, edges).

    Raises:
        InputError: where `count` is less than the operators that are alive on an edge, so that some would go unseen.
    """
    most = int(mask.sum(-1).max())
    if count < most:
        raise InputError(f"`paths` must be at least {most}, the operators alive on one edge; it is {count}.")
    edges = [np.flatnonzero(alive) for alive in mask.reshape(-1, mask.shape[-1])]
    # Python's integers: the product of a large space does not fit into 64 bits.
    if np.prod([len(alive) for alive in edges], dtype=object) <= count:
        choices = np.array(list(itertools.product(*edges)))
    else:
        rng = host_generator(key)
        choices = np.stack([rng.permutation(np.resize(rng.permutation(alive), count)) for alive in edges], axis=1)
    return choices.reshape(-1, *mask.shape[:2])


def genotypes(key: Key[Array, ""], mask: Mask, count: int, space: CellGraph) -> Int[np.ndarray, "m cells edges"]:
    """A balanced sample of single architectures in which every node keeps `space.kept_edges` of its input edges.

    A node goes through the sets of edges that it can keep in turn, and an edge through its operators where it is kept.

    Args:
        key: decides the sample.
        mask: the operators that are alive; an edge with "none" alone is never kept.
        count: so many.
        space: the search space.

    Returns:
        Operator numbers (m, cells, edges), "none" on the edges that are not kept.

    Raises:
        InputError: where `count` is so small that an operator would go unseen.
    """
    rng = host_generator(key)
    choices = np.full((count, *mask.shape[:2]), space.none)
    alive = space.eligible(mask)
    for cell, node in itertools.product(range(mask.shape[0]), space.inner_nodes):
        carrying = [e for e in space.entering(node) if alive[cell, e].any()]
        kept = np.array(list(itertools.combinations(carrying, min(space.kept(node), len(carrying)))))
        kept = kept[rng.permutation(np.resize(rng.permutation(len(kept)), count))]
        for edge in carrying:
            rows, operators = np.flatnonzero((kept == edge).any(1)), np.flatnonzero(alive[cell, edge])
            if len(rows) < len(operators):
                raise InputError(
                    f"`paths` is {count}, too few: only {len(rows)} of them would keep edge {edge}, which has "
                    f"{len(operators)} operators."
                )
            choices[rows, cell, edge] = rng.permutation(np.resize(rng.permutation(operators), len(rows)))
    return choices
