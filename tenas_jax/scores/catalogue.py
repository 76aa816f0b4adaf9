"""The catalogue of scores: what an architecture of a space can be scored by.

A score is a row, a `spaces.score.Score`. Rows that are read from a network come from the space; costs hold for every space.
Search, ranking, evolution and presets all take their scores from here.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import numpy as np
from jaxtyping import Bool, Int

from tenas_jax.command_line import say
from tenas_jax.errors import InputError
from tenas_jax.networks.cost import costs
from tenas_jax.networks.operator_check import check_operators
from tenas_jax.networks.yardsticks import yardsticks
from tenas_jax.ntk.analytic import analytic_obstacle
from tenas_jax.spaces.score import Kernel, Ntk, NtkEngine, Score
from tenas_jax.spaces.space import SearchSpace

# Read from a network's definition: nothing is evaluated.
COSTS = {
    "parameters": Score("of the network that is trained", "parameters", None),
    "flops": Score("multiply-adds of the network that is trained, for one image", "flops", None),
    "live_parameters": Score("of what lies on a path from an input to the output", "live_parameters", None),
    "live_multiply_adds": Score("of what lies on a path from an input to the output", "live_multiply_adds", None),
    "live_convolutions": Score("on a path from an input to the output", "live_convolutions", None),
    "live_spatial_convolutions": Score("those larger than 1x1", "live_spatial_convolutions", None),
    "path_convolutions": Score("convolutions summed over all paths through the cells", "path_convolutions", None),
    "path_spatial_convolutions": Score(
        "convolutions larger than 1x1, summed over all paths through the cells", "path_spatial_convolutions", None
    ),
    "depth": Score("convolutions on the longest path through the cells", "depth", None),
}
# Small images rank as well as large ones and cost a fraction; frozen statistics need per-example gradients only.
_OTHER: dict[Ntk, dict[str, Any]] = {
    "analytic": {"images": 8, "side": 4},
    "empirical": {"images": 32, "side": 8, "batch_stats": "frozen"},
}
_CHANNELS: dict[Ntk, int] = {"analytic": 16, "empirical": 3}


def catalogue(space: SearchSpace, ntk: Ntk | None = None) -> Mapping[str, Score]:
    """All scores that there are for the architectures of a space, by name.

    Args:
        space: the search space.
        ntk: which kernel; None for the one in each score. The other kernel has the batch size and channels that suit it.
    """
    return {name: _with_kernel(score, ntk) for name, score in space.scores.items()} | COSTS


def _with_kernel(score: Score, ntk: Ntk | None) -> Score:
    kernel = score.work
    if not isinstance(kernel, Kernel) or ntk in (None, kernel.ntk):
        return score
    skeleton = kernel.skeleton._replace(channels=_CHANNELS[ntk])
    return score._replace(work=kernel._replace(ntk=ntk, skeleton=skeleton, **_OTHER[ntk]))


def costs_of(
    space: SearchSpace, scores: Mapping[str, Score], masks: Bool[np.ndarray, "m cells edges ops"]
) -> dict[str, Int[np.ndarray, " m"]]:
    """The scores that are read from a network's definition.

    Args:
        space: the search space.
        scores: by name; those that need an evaluation are left out.
        masks: (m, cells, edges, operators).

    Returns:
        By name (m,).
    """
    totals = costs(space, masks)._asdict() | yardsticks(space, masks)._asdict()
    return {name: totals[score.statistic] for name, score in scores.items() if score.work is None}


def chosen_scores(space: SearchSpace, names: Sequence[str], ntk: Ntk | None = None) -> dict[str, Score]:
    """Scores by their names.

    Args:
        space: the search space.
        names: of scores.
        ntk: which kernel; None for the one in each score.

    Returns:
        By name, in the order of the names.

    Raises:
        InputError: for an unknown name, a name that comes twice, or no name.
    """
    known = catalogue(space, ntk)
    if not names:
        raise InputError(f"at least one score is needed; {space.name} has {', '.join(known)}.")
    for place, name in enumerate(names):
        if name not in known:
            raise InputError(f"the score {name!r} is unknown; {space.name} has {', '.join(known)}.")
        if name in names[:place]:
            raise InputError(f"the score {name} is asked for twice; name it once.")
    return {name: known[name] for name in names}


def read_from_kernel(scores: Mapping[str, Score], ntk: Ntk) -> bool:
    """Whether a score is read from a kernel of this kind.

    Args:
        scores: by name.
        ntk: which kernel.
    """
    return any(isinstance(score.work, Kernel) and score.work.ntk == ntk for score in scores.values())


def readable_scores(
    space: SearchSpace, names: Sequence[str], ntk: Ntk | None = None, engine: str | None = None
) -> dict[str, Score]:
    """Scores by their names, with the empirical kernel where an operator of the space has no analytic one; that is said.

    Args:
        space: the search space.
        names: of scores.
        ntk: which kernel; None for the one in each score.
        engine: of the empirical kernel; None for "auto".

    Raises:
        InputError: as `chosen_scores`; for an engine that is unknown, or that no score asks for; for an operator that
            fails, or makes something of another shape than an edge's.
    """
    scores = chosen_scores(space, names, ntk)
    check_operators(space)
    obstacle = analytic_obstacle(space) if read_from_kernel(scores, "analytic") else None
    if obstacle is None:
        return _with_engine(scores, engine)
    what = f"operator {obstacle.name!r}" if obstacle.name in space.operators else "the network"
    say(f"`analytic_ntk` has no closed form for {what} ({obstacle.reason}); the empirical NTK is taken instead")
    return _with_engine(chosen_scores(space, names, "empirical"), engine)


def _with_engine(scores: dict[str, Score], engine: str | None) -> dict[str, Score]:
    if engine is None:
        return scores
    if engine not in get_args(NtkEngine):
        raise InputError(f"the engine {engine!r} is unknown; choose --ntk-engine {', '.join(get_args(NtkEngine))}.")
    if not read_from_kernel(scores, "empirical"):
        raise InputError(
            "--ntk-engine is about the empirical NTK, and no score at hand is read from one; take --ntk empirical too, or "
            "leave it out."
        )
    chosen: Any = engine
    return {
        name: score._replace(work=score.work._replace(engine=chosen))
        if isinstance(score.work, Kernel) and score.work.ntk == "empirical"
        else score
        for name, score in scores.items()
    }


def definitions_of(scores: Mapping[str, Score]) -> dict[str, Any]:
    """What decides the numbers of some scores, as JSON: for the identity of a run.

    Args:
        scores: by name.

    Returns:
        By name the hash of the score's definition.
    """
    return {name: hashlib.sha256(_as_json(score).encode()).hexdigest()[:16] for name, score in scores.items()}


def _as_json(score: Score) -> str:
    work = score.work and {"kind": type(score.work).__name__, **score.work._asdict()}
    if work:
        work["skeleton"] = work["skeleton"]._asdict()
        if work.get("engine") == "auto":
            del work["engine"]  # what earlier versions took, too
    decides = {"statistic": score.statistic, "geometric": score.geometric, "work": work}
    return json.dumps(decides, sort_keys=True, default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r} is not plain data")
