"""Scores as functions of a key and masks: what a pruning search asks for.

The key decides images and initialisations, so all masks of one call see the same ones.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from tenas_jax.data import ImageSource
from tenas_jax.scores.catalogue import costs_of
from tenas_jax.scores.mask_program import MaskProgram
from tenas_jax.scores.programs import score_programs
from tenas_jax.scores.shared_work import SharedProgram
from tenas_jax.spaces.score import Score
from tenas_jax.spaces.space import SearchSpace
from tenas_jax.terminal import doing

Masks = Bool[np.ndarray, "m cells edges ops"]


class Scores(NamedTuple):
    """What an indicator says of some masks.

    Attributes:
        values: (repeats, m), float64; infinite where a kernel is not of full rank.
        health: (repeats, m) strings: of a kernel as `ntk.spectrum.Health`, of a count "counted" or "saturated", of
            activation patterns "distinct" or "shared", where two inputs have the same.
    """

    values: Float[np.ndarray, "repeats m"]
    health: np.ndarray


class Indicator(NamedTuple):
    """A score of masks.

    Attributes:
        name: as in records.
        lower_is_better: the direction.
        evaluate: `(key, masks) -> Scores`.
        program: what was compiled for it; None for costs and for a plain function.
        geometric: whether repeats are averaged by their logarithms, which takes positive values.
    """

    name: str
    lower_is_better: bool
    evaluate: Callable[[Key[Array, ""], Masks], Scores]
    program: MaskProgram | SharedProgram | None = None
    geometric: bool = False

    @property
    def compile_seconds(self) -> float:
        """Spent on compiling."""
        return self.program.compile_seconds if self.program else 0.0


def indicator(space: SearchSpace, source: ImageSource, name: str, score: Score, *, repeats: int = 1) -> Indicator:
    """A score of the catalogue, or one that is made like them, as a function of a key.

    Args:
        space: the search space.
        source: of images.
        name: as in records.
        score: its definition.
        repeats: draws of images and weights; costs have one.
    """
    if score.work is None:

        def count(key, masks):
            del key  # nothing is drawn at random
            values = costs_of(space, {name: score}, masks)[name][None].astype(float)
            return Scores(values, np.full(values.shape, "counted"))

        return Indicator(name, score.lower_is_better, count, None)
    (program,) = score_programs(space, {name: score})

    def evaluate(key, masks):
        results = []
        doing(f"scoring {len(masks)} networks by {name.replace('_', ' ')}")
        for repeat in range(repeats):
            drawn = program.draw(jax.random.fold_in(key, repeat), source)
            results.append(program.read(program.compiled(masks, *drawn), masks)[name])
        program.compiled.release()
        return Scores(np.stack([values for values, _ in results]), np.stack([health for _, health in results]))

    return Indicator(name, score.lower_is_better, evaluate, program.compiled, score.geometric)


def indicators(
    space: SearchSpace, source: ImageSource, scores: Mapping[str, Score], *, repeats: int = 1
) -> list[Indicator]:
    """Several scores of the catalogue.

    Args:
        space: the search space.
        source: of images.
        scores: by name.
        repeats: draws of images and weights.
    """
    return [indicator(space, source, name, score, repeats=repeats) for name, score in scores.items()]
