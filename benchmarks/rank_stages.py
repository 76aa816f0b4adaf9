"""Where the time of a ranking goes: the default scores of NAS-Bench-201, evaluated one by one and with shared work.

    python benchmarks/rank_stages.py [--architectures 1000] [--repeats 2]

The same architectures by the same programs in one process, compiling apart: one after another, each from the images to the
score, and as a tree (`scores/shared_work.py`). The kernel of three stages also as a batch. Beside the programs: drawing,
eigenvalues, equal cells, ranks. Everything in processor milliseconds for an architecture and a draw. Writes
`results/rank_stages.json`.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np

from common.records import write
from common.timing import compiled, seconds_in_turn
from tenas_jax import NAS_BENCH_201 as SPACE
from tenas_jax.data import open_images
from tenas_jax.rank import score_table
from tenas_jax.scores.catalogue import chosen_scores
from tenas_jax.scores.mask_program import one_by_one, side_by_side
from tenas_jax.scores.programs import ScoreProgram, score_programs
from tenas_jax.scores.scorer import Scorer
from tenas_jax.scores.shared_work import SharedProgram
from tenas_jax.spaces import equal_cells

BATCHED = "trace_over_smallest"  # later stages, which share nothing and work on small arrays
CHUNK = 32


def batched(programs: list[ScoreProgram], place: int, masks: np.ndarray, drawn: Any) -> dict[str, float]:
    """Processor milliseconds for an architecture, one after the other and as one batch, the best of five."""
    program: Any = programs[place].compiled
    found = {}
    for name, way in (("one after the other", one_by_one), ("as a batch", side_by_side)):
        count = np.int32(CHUNK)
        run, _ = compiled(partial(way, program.plain.function), masks[:CHUNK], count, *drawn)
        call = partial(run, masks[:CHUNK], count, *drawn)
        seconds = seconds_in_turn({name: lambda call=call: jax.block_until_ready(call())}, {name: 5})[name]
        found[name] = round(1000 * float(seconds[:, 1].min()) / CHUNK, 4)
    return found


class Spent:
    """Processor seconds by what they were spent on."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.seconds: dict[str, float] = defaultdict(float)

    def forget(self, name: str) -> None:
        """What was spent on a score and on reading it."""
        for what in (name, f"{name}: read"):
            self.seconds[what] = 0.0

    def on(self, what: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, whose time is noted."""

        def noted(*arguments: Any, **named: Any) -> Any:
            start = time.process_time()
            try:
                return function(*arguments, **named)
            finally:
                self.seconds[what] += time.process_time() - start

        return noted


def timed_programs(scores: Any, spent: Spent, *, shared: bool) -> list[ScoreProgram]:
    """The programs of some scores, with their work shared or one by one."""
    found = []
    for program, name in zip(score_programs(SPACE, scores), (n for n in scores if scores[n].work), strict=True):
        compiled: Any = program.compiled
        if not shared:
            assert isinstance(compiled, SharedProgram)
            compiled = compiled.plain
        run: Any = spent.on(name, compiled)
        run.held = compiled.held
        found.append(program._replace(compiled=run, read=spent.on(f"{name}: read", program.read)))
    return found


def main(argv: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architectures", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--name", default="rank_stages", help="of the result's file; empty writes none")
    options = parser.parse_args(argv)
    scores, source = chosen_scores(SPACE, SPACE.family.default_scores), open_images()
    masks = SPACE.enumerated()
    kept = Spent()
    equal = kept.on("equal cells, of the whole space", equal_cells.representatives)(SPACE, masks)
    # Neighbours in the order of the space, as a ranking of all of them meets them.
    distinct = np.unique(SPACE.choices(equal)[:, 0], axis=0)
    distinct = SPACE.one_hot(distinct[:, None])
    distinct = distinct[SPACE.connected(distinct)]
    start = (len(distinct) - options.architectures) // 2
    masks = distinct[start : start + options.architectures]
    scorer = kept.on("drawing", score_table.prepare)(SPACE, scores, source, repeats=options.repeats)
    work, found = len(masks) * options.repeats, {}
    for way, shared in (("one by one", False), ("shared", True)):
        spent = Spent()
        programs, values = timed_programs(scores, spent, shared=shared), {}
        # One after the other: beside each other, each would be charged with what the others take of the processors.
        for program, drawn, name in zip(programs, scorer.drawn, scorer.scores, strict=True):
            mine = Scorer(SPACE, {name: scorer.scores[name]}, (drawn,))
            mine.__dict__["programs"] = [program]
            mine(masks)  # compiles
            spent.forget(name)
            values |= mine(masks).values
        found[way] = {"values": values, "milliseconds": {k: 1000 * v / work for k, v in spent.seconds.items()}}
    before, after = (found[way]["milliseconds"] for way in ("one by one", "shared"))
    ranked = score_table.draws_of(SPACE, scores, masks, scorer(masks), np.arange(len(masks)))
    places = [name for name in scores if scores[name].work]
    place = places.index(BATCHED)
    ways = batched(score_programs(SPACE, scores), place, masks, scorer.drawn[place][0])
    columns = {name: values.mean(0) for name, values in ranked.items()}
    kept.on("ranks", score_table.aggregates)(SPACE, scores, masks, ranked, columns)
    content = {
        "architectures": len(masks),
        "draws": options.repeats,
        "programs": {
            name: {
                "one_by_one_milliseconds": round(before[name], 4),
                "shared_milliseconds": round(after[name], 4),
                "times_as_fast": round(before[name] / after[name], 2),
                "largest_difference": float(f"{_difference(found, name):.2g}"),
            }
            for name in scorer.scores
        },
        "read_milliseconds": {name: round(after[f"{name}: read"], 4) for name in scorer.scores},
        "batches": {"score": BATCHED, "milliseconds": ways},
        "once_seconds": {name: round(value, 3) for name, value in kept.seconds.items()},
    }
    print(content)
    if options.name:
        write(options.name, content)
    return content


def _difference(found: dict[str, Any], name: str) -> float:
    one, other = (found[way]["values"][name] for way in ("one by one", "shared"))
    finite = np.isfinite(one)
    assert (finite == np.isfinite(other)).all()
    return float(np.abs(other[finite] / one[finite] - 1).max())


if __name__ == "__main__":
    main()
