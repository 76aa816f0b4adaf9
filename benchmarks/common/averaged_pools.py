"""DARTS without max pooling: the same cells with averages in its place."""

from dataclasses import replace

import numpy as np

from tenas_jax.spaces.darts import DARTS

WITHOUT_MAXIMA = replace(DARTS, operators=tuple(o for o in DARTS.operators if o != "max_pool_3x3"))


def averaged_pools(masks: np.ndarray) -> np.ndarray:
    """The masks with average pooling in the place of max pooling, for the space that has no maximum.

    Args:
        masks: (m, cells, edges, operators) of DARTS.
    """
    average, maximum = DARTS.operators.index("avg_pool_3x3"), DARTS.operators.index("max_pool_3x3")
    merged = masks.copy()
    merged[..., average] |= merged[..., maximum]
    return np.delete(merged, maximum, axis=-1)
