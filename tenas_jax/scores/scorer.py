"""All scores of many architectures: what is drawn once, and then evaluated for any masks, here or elsewhere."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import jax
import numpy as np
from jaxtyping import Bool

from tenas_jax.data import ImageSource
from tenas_jax.records.shards import SIZE, Table
from tenas_jax.scores.mask_program import beside_each_other
from tenas_jax.scores.programs import Readings, ScoreProgram, score_programs
from tenas_jax.scores.shared_work import BLOCK
from tenas_jax.scores.sharing import is_shared
from tenas_jax.spaces.score import REPEATS, Score
from tenas_jax.spaces.space import SearchSpace

DISCONNECTED = "disconnected"


@dataclass(frozen=True)
class Scorer:
    """A picklable scorer: definitions, and the arrays that were drawn. Programs are compiled where it is used.

    Attributes:
        space: the search space.
        scores: by name, those that are read from a program.
        drawn: by program and repeat, what all masks share.
    """

    space: SearchSpace
    scores: Mapping[str, Score]
    drawn: tuple[tuple[tuple[np.ndarray, ...], ...], ...]

    @cached_property
    def programs(self) -> list[ScoreProgram]:
        """The programs of the scores."""
        return score_programs(self.space, self.scores)

    @property
    def repeats(self) -> int:
        """Draws of images and weights."""
        return len(self.drawn[0]) if self.drawn else 0

    @property
    def compile_seconds(self) -> float:
        """Spent on compiling here."""
        return sum(program.compiled.compile_seconds for program in self.programs)

    @property
    def shard_size(self) -> int:
        """How many architectures are best evaluated together: what they share is computed once for all of them."""
        return BLOCK if is_shared(self.space) else SIZE

    def __getstate__(self) -> dict:
        """All but the compiled programs."""
        return {name: value for name, value in self.__dict__.items() if name != "programs"}

    def __call__(self, masks: Bool[np.ndarray, "m cells edges ops"]) -> Table:
        """Evaluates single architectures.

        Args:
            masks: (m, cells, edges, operators), m at least 1.

        Returns:
            Every score; no value depends on what else is evaluated beside it.
        """
        connected = self.space.connected(masks)
        masks = self.space.normal(masks)
        values = {name: np.full((self.repeats, len(masks)), np.nan) for name in self.scores}
        health = {name: np.full((self.repeats, len(masks)), DISCONNECTED, "U32") for name in self.scores}
        if self.programs and connected.any():
            for readings in self._readings(masks[connected]):
                for name, (value, state) in readings.items():
                    values[name][:, connected], health[name][:, connected] = value, state
        return Table(values, health)

    def _readings(self, masks: Bool[np.ndarray, "m cells edges ops"]) -> list[dict[str, tuple[np.ndarray, ...]]]:
        """By program what is read of all draws."""

        def read(program: ScoreProgram, drawn: Sequence[tuple[np.ndarray, ...]]) -> Iterator[Readings]:
            with program.compiled.held():
                for arrays in drawn:
                    yield program.read(program.compiled(masks, *arrays), masks)

        readings = beside_each_other([read(*one) for one in zip(self.programs, self.drawn, strict=True)])
        return [
            {name: tuple(map(np.stack, zip(*(one[name] for one in found), strict=True))) for name in found[0]}
            for found in readings
        ]


def prepare(
    space: SearchSpace, scores: Mapping[str, Score], source: ImageSource, *, seed: int = 0, repeats: int = REPEATS
) -> Scorer:
    """Draws images and weights for some scores.

    Args:
        space: the search space.
        scores: by name, see `catalogue.chosen_scores`; costs are not evaluated and may be left out.
        source: of images.
        seed: random seed for images and weights.
        repeats: draws, each of images and weights.

    Returns:
        The scorer.

    Raises:
        InputError: for images that are too few or too small.
    """
    evaluated = {name: score for name, score in scores.items() if score.work is not None}
    key = jax.random.key(seed)
    drawn = tuple(
        tuple(program.draw(jax.random.fold_in(key, repeat), source) for repeat in range(repeats))
        for program in score_programs(space, evaluated)
    )
    return Scorer(space, evaluated, drawn)
