"""Settings of a pruning search, as data."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Preset:
    """Everything about a pruning search that is not its data, seed or space.

    Attributes:
        scores: names of the scores that decide, see the space's family.
        repeats: draws of images and weights a decision.
        rule: how operators are compared, see `search.pruner`.
        paths: evaluations a decision: architectures drawn, times batches where fewer are left (rule "completion").
        fresh: a batch and an initialisation for every candidate (rule "removal").
        prune_number: operators that go from every edge in a round; None: one of the whole network (rule "completion").
    """

    scores: tuple[str, ...]
    repeats: int
    rule: Literal["completion", "removal"]
    paths: int = 0
    fresh: bool = False
    prune_number: int | None = None
