"""What a score is and which way is better, for a page that knows its name alone."""

from functools import cache

from tenas_jax.scores.catalogue import catalogue
from tenas_jax.spaces.cell_graph import CellGraph
from tenas_jax.spaces.registry import SPACES
from tenas_jax.spaces.score import Score
from tenas_jax.spaces.space import SearchSpace

SUMS = {
    "smoothed": Score("sum of log ranks, smoothed over architectures one operator away; decides", "smoothed", None),
    "log_rank_sum": Score("sum of log ranks", "log_rank_sum", None),
    "rank_sum": Score("sum of ranks (TE-NAS)", "rank_sum", None, lower_is_better=True),
    "accuracy": Score("trained accuracy of the benchmark; enters no score", "accuracy", None),
}
CHEAP = ("parameters", "flops")  # costs: neither way is better


@cache
def _known() -> dict[str, Score]:
    found: dict[str, Score] = {}
    for space in SPACES.values():
        found = {**catalogue(space), **found}
    return found | SUMS


def score_of(space: CellGraph | None, name: str) -> Score | None:
    """The definition of a score; None where nobody knows it.

    Args:
        space: the search space.
        name: of the score.
    """
    own = catalogue(space) if isinstance(space, SearchSpace) else {}
    return own.get(name) or _known().get(name)


def direction(space: CellGraph | None, name: str) -> str:
    """Which way is better, in words.

    Args:
        space: the search space.
        name: of the score.
    """
    score = score_of(space, name)
    return "" if score is None else "lower is better" if score.lower_is_better else "higher is better"


def lower_is_better(space: CellGraph | None, name: str) -> bool:
    """Whether the smallest value is the best.

    Args:
        space: the search space.
        name: of the score.
    """
    score = score_of(space, name)
    return bool(score and score.lower_is_better)


def told(name: str) -> str:
    """A score's name for people.

    Args:
        name: of the score.
    """
    return name.replace("_", " ")
