"""TransNAS-Bench-101's micro cells, written as cells of NAS-Bench-201 without pooling (Duan et al., CVPR 2021)."""

import csv
import gzip
import zlib
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

TASKS = ("class_scene", "jigsaw", "normal")


def micro_cells(path: Path, names: list[str]) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Which rows of the space are TransNAS's, what they reach on each task, and its halves."""
    with gzip.open(path, "rt") as file:
        table = {row["architecture"]: [float(row[task] or "nan") for task in TASKS] for row in csv.DictReader(file)}
    rows = np.array([place for place, name in enumerate(names) if name in table])
    development = np.array([zlib.crc32(names[row].encode()) % 2 == 0 for row in rows])
    reached = np.array([table[names[row]] for row in rows])
    parts = {"all": np.ones_like(development), "development half": development, "other half": ~development}
    return rows, reached, parts


def micro_rhos(score: np.ndarray, reached: np.ndarray, parts: dict[str, np.ndarray]) -> dict[str, float]:
    """Spearman's rho by task and part.

    Args:
        score: (m,) of TransNAS's cells.
        reached: from `micro_cells`; nan where a cell has none.
        parts: from `micro_cells`.
    """
    found = {}
    for part, chosen in parts.items():
        for task, values in zip(TASKS, reached.T, strict=True):
            known = chosen & ~np.isnan(values)
            rho = spearmanr(score[known], values[known])
            found[f"TransNAS micro {task}, {part}"] = float(np.asarray(rho)[0])
    return found
