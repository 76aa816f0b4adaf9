"""The default evolution without a folder, by any scores."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from tenas_jax.search.budget import Budget
from tenas_jax.search.evolution import init, steps
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
    key = jax.random.key(seed)
    *_, last = steps(key, init(space), space=space, score=score, lower_is_better=lower, budget=budget)
    return space.one_hot(last.best)
