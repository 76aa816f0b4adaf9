"""All scores of many architectures: what is drawn once, and then evaluated for any masks, here or elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import jax
import numpy as np
from jaxtyping import Bool

from tenas_jax.data import ImageSource
from tenas_jax.records.shards import Table
from tenas_jax.scores.views import Ntk, View, build_views, check_scores
from tenas_jax.spaces.registry import find_space
from tenas_jax.spaces.space import SearchSpace

DISCONNECTED = "disconnected"


@dataclass(frozen=True)
class Scorer:
    """A scorer that travels: names, and the arrays that were drawn. Programs are compiled where it is used.

    Attributes:
        space: the search space.
        scores: names of scores that need a view.
        ntk: which kernel.
        drawn: by view and repeat, what all masks share.
    """

    space: SearchSpace
    scores: tuple[str, ...]
    ntk: Ntk
    drawn: tuple[tuple[tuple[np.ndarray, ...], ...], ...]

    @cached_property
    def views(self) -> list[View]:
        """The views of the scores."""
        return build_views(self.space, self.scores, self.ntk)

    def __getstate__(self) -> dict:
        """All but the compiled programs."""
        return {name: value for name, value in self.__dict__.items() if name != "views"}

    def __call__(self, masks: Bool[np.ndarray, "m cells edges ops"]) -> Table:
        """Evaluates single architectures.

        Args:
            masks: (m, cells, edges, operators), m at least 1.

        Returns:
            Every score; no value depends on what else is evaluated beside it.
        """
        connected = self.space.connected(masks)
        repeats = len(self.drawn[0]) if self.drawn else 0
        values = {name: np.full((repeats, len(masks)), np.nan) for name in self.scores}
        health = {name: np.full((repeats, len(masks)), DISCONNECTED, "U32") for name in self.scores}
        if connected.any():
            for view, drawn in zip(self.views, self.drawn, strict=True):
                for repeat, arrays in enumerate(drawn):
                    readings = view.read(view.program(masks[connected], *arrays), masks[connected])
                    for name, (value, state) in readings.items():
                        values[name][repeat, connected] = value
                        health[name][repeat, connected] = state
        return Table(values, health)


def prepare(
    space: SearchSpace | str,
    scores: Sequence[str],
    source: ImageSource,
    *,
    ntk: Ntk = "analytic",
    seed: int = 0,
    repeats: int = 8,
) -> Scorer:
    """Draws images and weights for some scores.

    Args:
        space: the search space, or its name as `space.find_space` takes it.
        scores: names of scores, see `views.scores_of`; costs are not evaluated and may be left out.
        source: of images.
        ntk: which kernel.
        seed: of everything random.
        repeats: draws, each of images and weights.

    Returns:
        The scorer.

    Raises:
        InputError: for unknown scores, or images that are too few or too small.
    """
    space = find_space(space) if isinstance(space, str) else space
    check_scores(space, scores)
    evaluated = tuple(name for name in scores if name not in ("parameters", "flops"))
    views = build_views(space, evaluated, ntk)
    key = jax.random.key(seed)
    drawn = tuple(
        tuple(view.draw(jax.random.fold_in(key, repeat), source) for repeat in range(repeats)) for view in views
    )
    return Scorer(space, evaluated, ntk, drawn)
