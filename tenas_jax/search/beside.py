"""What was found, beside others: kernels of the supernet and of a random architecture, scores of some random ones.

Kept as `beside.json` in the run's folder, for its page. It decides nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from tenas_jax.data import ImageSource
from tenas_jax.records import seal
from tenas_jax.records.run_folder import RunFolder
from tenas_jax.scores.indicators import Indicator
from tenas_jax.scores.programs import score_programs
from tenas_jax.spaces.cell_graph import Mask
from tenas_jax.spaces.score import Kernel, Score
from tenas_jax.spaces.space import SearchSpace

FILE = "beside.json"
RANDOM = 31  # architectures at random beside the one that was found
SALT = 0xBE51DE  # of the key: other images than those that decided


def kernels_beside(
    space: SearchSpace,
    source: ImageSource,
    scores: Mapping[str, Score],
    found: Mask,
    seed: int,
    by: Sequence[Indicator] = (),
) -> dict[str, Any]:
    """The kernels of what was found, of the supernet and of one random architecture, on one batch.

    Args:
        space: the search space.
        source: of images.
        scores: by name; the first that is read from a kernel says which kernel.
        found: mask of a single architecture.
        seed: of the run.
        by: the indicators of the search, whose programs are used again.

    Returns:
        Plain JSON values: `kernels` by name, and `kernel`, what they are; empty where no score is read from a kernel.
    """
    kernels = {name: score for name, score in scores.items() if isinstance(score.work, Kernel)}
    if not kernels:
        return {}
    name, score = next(iter(kernels.items()))
    (program,) = score_programs(space, {name: score})
    key = jax.random.fold_in(jax.random.key(seed), SALT)
    drawn = program.draw(key, source)
    masks = {"found": found, "random": _random(space, key)[0], "supernet": space.supernet()}
    masks = {name: mask for name, mask in masks.items() if space.is_connected(mask)}
    compiled = next((one.program for one in by if one.name == name and one.program), program.compiled)
    values = {place: np.asarray(compiled(mask[None], *drawn))[0] for place, mask in masks.items()}
    work = score.work
    assert isinstance(work, Kernel)
    what = f"{work.ntk} neural tangent kernel, as of the score {name.replace('_', ' ')},"
    return {
        "kernels": {name: kernel.tolist() for name, kernel in values.items() if np.isfinite(kernel).all()},
        "kernel": what,
    }


def scores_beside(space: SearchSpace, by: Sequence[Indicator], found: Mask, seed: int) -> dict[str, Any]:
    """The indicators of what was found and of random architectures, on the same images and weights; NaN of no network.

    Args:
        space: the search space.
        by: the indicators of the search.
        found: mask of a single architecture.
        seed: of the run.

    Returns:
        Plain JSON values: `scores`, by name `found` and `random`.
    """
    key = jax.random.fold_in(jax.random.key(seed), SALT)
    masks = np.concatenate([found[None], _random(space, key)])
    connected, scores = space.connected(masks), {}
    for indicator in by:
        means = np.full(len(masks), np.nan)
        values = indicator.evaluate(key, masks[connected]).values
        with np.errstate(divide="ignore"):
            means[connected] = np.exp(np.log(values).mean(0)) if indicator.geometric else values.mean(0)
        scores[indicator.name] = {"found": _plain(means[0]), "random": [_plain(value) for value in means[1:]]}
    return {"scores": scores}


def _random(space: SearchSpace, key) -> np.ndarray:
    """Random architectures in which some input reaches the output."""
    masks = space.sample(key, 8 * RANDOM)
    return masks[space.connected(masks)][:RANDOM]


def keep(folder: RunFolder, content: dict[str, Any]) -> None:
    """Writes `beside.json`, where there is anything to write.

    Args:
        folder: of the run.
        content: plain JSON values.
    """
    if content:
        folder.write(FILE, seal.sealed(content).decode())


def _plain(value: float) -> float | str:
    """JSON has no infinity."""
    return float(value) if np.isfinite(value) else str(float(value))
