"""The default scores of spaces other than NAS-Bench-201 and DARTS, beside every yardstick.

    python benchmarks/rank_spaces.py FOLDER [SPACE ...] [--repeats N]

FOLDER holds the tables nasbench_macro.csv.gz, mnasnet_imagenet.csv.gz, transnas_micro.csv.gz and
transnas_macro.csv.gz. Every architecture that has an accuracy is scored as `python -m tenas_jax.rank` does, equal ones
once. Kendall's tau and Spearman's rho are reported on both halves by crc32 of the string: the development half may choose
settings, the other one none. Writes `results/rank_spaces.json`, where spaces that are not named stay as they were.
"""

import argparse
import json
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import kendalltau, spearmanr

from common.architectures import distinct
from common.records import RESULTS, record, write
from tenas_jax.data import open_images
from tenas_jax.networks.cost import costs
from tenas_jax.networks.yardsticks import yardsticks
from tenas_jax.rank.benchmark_table import read_table
from tenas_jax.scores.catalogue import chosen_scores, costs_of
from tenas_jax.scores.neighbours import smoothed
from tenas_jax.scores.ranks import log_rank_sum
from tenas_jax.scores.scorer import prepare
from tenas_jax.spaces.equal_cells import representatives
from tenas_jax.spaces.registry import SPACES
from tenas_jax.spaces.score import Patterns
from tenas_jax.spaces.space import SearchSpace


class Benchmark(NamedTuple):
    """A table of a space: its file, the columns that say what is reached, and the bit of the crc32 that makes its halves.

    Of NAS-Bench-Macro's equal networks, those whose last bit is 0 are all that the table has accuracies of.
    """

    file: str
    columns: tuple[str, ...]
    bit: int = 0


BENCHMARKS = {
    "nasbench-macro": Benchmark("nasbench_macro.csv.gz", ("test_accuracy_mean",), bit=1),
    "mnasnet": Benchmark("mnasnet_imagenet.csv.gz", ("top1",)),
    "transnas-micro": Benchmark("transnas_micro.csv.gz", ("class_scene", "jigsaw", "normal")),
    "transnas-macro": Benchmark("transnas_macro.csv.gz", ("class_scene", "normal")),
}


def blocks(space: SearchSpace, masks: np.ndarray) -> np.ndarray | None:
    """How many inverted residuals or modules a network has; None of cells."""
    if not space.decisions:
        return None
    held = [[space.operators[option] for option in choice[0]] for choice in masks.argmax(-1)]
    layers = {o: int(o.partition("l")[2].partition("s")[0]) if "l" in o else int(o != "0") for o in space.operators}
    return np.array([sum(layers[option] for option in one) for one in held])


def measured(space: SearchSpace, masks: np.ndarray, repeats: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The default scores, and sizes and counts that nothing is evaluated for."""
    names = space.family.default_scores
    scores = chosen_scores(space, names)
    cells, places = distinct(space, masks)
    table = prepare(space, scores, open_images(), repeats=repeats)(cells)
    values = {name: found[:, places] for name, found in table.values.items()}
    values |= {name: found[None].astype(float) for name, found in costs_of(space, scores, masks).items()}
    lower = {name: scores[name].lower_is_better for name in scores}
    plain = log_rank_sum({name: values[name] for name in names}, lower)
    found = {"default, plain": plain}
    if space.is_enumerable and len(names) > 1:
        found["default, smoothed"] = smoothed(plain, masks.argmax(-1), space)
    for name in names:
        found[name] = log_rank_sum({name: values[name]}, {name: lower[name]})
    sizes = {**costs(space, masks)._asdict(), **yardsticks(space, masks)._asdict()}
    works = [score.work for score in scores.values() if isinstance(score.work, Patterns) and score.work.whole]
    for work in works:
        sizes["neurons of the scored network"] = costs(space, masks, skeleton=work.skeleton, side=work.side).neurons
    sizes |= {"blocks": count} if (count := blocks(space, masks)) is not None else {}
    return found, sizes


def judged(values: np.ndarray, reached: np.ndarray, rows: np.ndarray) -> dict[str, Any]:
    """Of the rows that have an accuracy."""
    rows = rows & np.isfinite(reached)
    return {
        "kendall_tau": round(float(np.asarray(kendalltau(values[rows], reached[rows]))[0]), 4),
        "spearman_rho": round(float(np.asarray(spearmanr(values[rows], reached[rows]))[0]), 4),
        "architectures": int(rows.sum()),
    }


def judge(space: SearchSpace, folder: Path, repeats: int) -> dict[str, Any]:
    """Correlations by score, column and half."""
    benchmark = BENCHMARKS[space.name]
    tables = {column: read_table(folder / benchmark.file, column).accuracies for column in benchmark.columns}
    strings = sorted({name for table in tables.values() for name in table})
    masks = np.stack([space.parse(name) for name in strings])
    # Architectures that are one network stay together.
    keys = space.formats(representatives(space, masks))
    development = np.array([zlib.crc32(key.encode()) >> benchmark.bit & 1 == 0 for key in keys])
    found, sizes = measured(space, masks, repeats)
    rows = {}
    for column, table in tables.items():
        reached = np.array([table.get(name, np.nan) for name in strings])
        for half, of in (("development half", development), ("other half", ~development)):
            for kind, group in (("scores", found), ("yardsticks", sizes)):
                for name, values in group.items():
                    of_name = rows.setdefault(kind, {}).setdefault(name, {})
                    of_name[f"{column}, {half}"] = judged(np.nan_to_num(values, neginf=-1e9, nan=-1e9), reached, of)
    return {"default_scores": list(space.family.default_scores), "repeats": repeats, **rows}


def main() -> None:
    """Measures the spaces that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("spaces", nargs="*", default=[])
    parser.add_argument("--repeats", type=int, default=8)
    arguments = parser.parse_args()
    path = RESULTS / "rank_spaces.json"
    found = json.loads(path.read_text())["spaces"] if path.exists() else {}
    for name in arguments.spaces or BENCHMARKS:
        found[name] = {"measured": record(), **judge(SPACES[name], arguments.folder, arguments.repeats)}
        print(name, found[name]["scores"], flush=True)
    write("rank_spaces", {"spaces": found})


if __name__ == "__main__":
    main()
