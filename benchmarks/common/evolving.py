"""The default evolution without a folder, by any scores."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from tenas_jax.search.budget import Budget
from tenas_jax.search.evolution import Evolution, first_generation, goodness, next_generation
from tenas_jax.spaces.space import SearchSpace


def evolved(
    space: SearchSpace,
    score: Callable[[Any], dict[str, np.ndarray]],
    lower: Mapping[str, bool],
    seed: int,
    budget: Budget | None = None,
) -> np.ndarray:
    """What `search.strategies.evolve` does.

    Args:
        space: the search space.
        score: of masks, every draw of every score, by name (draws, m).
        lower: by score, whether lower is better.
        seed: of the generations.
        budget: what all architectures have to meet; None for no limit.

    Returns:
        The mask of the best architecture seen.
    """
    settings, key, generations = Evolution(), jax.random.key(seed), []
    choices, good = np.zeros((0, *space.mask_shape[:2]), int), np.zeros(0)
    while len(choices) < settings.evaluations:
        generation = jax.random.fold_in(key, len(generations))
        if generations:
            young = next_generation(generation, choices, good, space, settings, budget)
        else:
            young = first_generation(generation, space, settings, budget)
        if not len(young):
            break
        generations.append(score(space.one_hot(young)))
        choices = np.concatenate([choices, young])
        values = {name: np.concatenate([one[name] for one in generations], axis=1, dtype=float) for name in lower}
        good = goodness(values, lower, choices, space)
    return space.one_hot(choices[np.argmax(good)])
