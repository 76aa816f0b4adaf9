"""Which scores a ranking of NAS-Bench-201 needs: sums of log ranks of subsets, plain and smoothed over neighbours.

    python benchmarks/rank_ablation.py --nasbench201 TABLE [--seeds 30 33]

One ranking a seed evaluates every score; the subsets are summed afterwards. The table's accuracies enter no score. Writes
`results/rank_ablation.json`.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from common.halves import halves
from common.processes import ranked
from common.records import write
from common.statistics import judged, over_batches
from tenas_jax import NAS_BENCH_201
from tenas_jax.rank.benchmark_table import read_table
from tenas_jax.rank.score_table import aggregates
from tenas_jax.scores.catalogue import chosen_scores

SCORES = (
    "condition_number",
    "condition_number_one_stage",
    "linear_regions_one_channel",
    "linear_regions",
    "effective_regions_wide",
    "effective_regions_deep",
    "hamming",
    "flops",
)
DEFAULT = NAS_BENCH_201.family.default_scores
SUBSETS: dict[str, tuple[str, ...]] = {
    **{score: (score,) for score in SCORES},
    "TE-NAS's two": ("condition_number", "linear_regions_one_channel"),
    "the same, colour patches": ("condition_number", "linear_regions"),
    "the same, and FLOPs": ("condition_number", "linear_regions", "flops"),
    "default": DEFAULT,
    **{f"default without {score}": tuple(s for s in DEFAULT if s != score) for score in DEFAULT},
    "default and condition_number_one_stage": (*DEFAULT, "condition_number_one_stage"),
    "default and linear_regions": (*DEFAULT, "linear_regions"),
    "default and hamming": (*DEFAULT, "hamming"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nasbench201", type=Path, required=True, help="csv of accuracies of all architectures")
    parser.add_argument("--seeds", type=int, nargs=2, default=(30, 33))
    parser.add_argument("--architectures", default="all", help="as in tenas_jax.rank")
    parser.add_argument("--repeats", default="8", help="as in tenas_jax.rank")
    parser.add_argument("--name", default="rank_ablation", help="of the result's file; empty writes none")
    arguments = parser.parse_args()
    accuracies = read_table(arguments.nasbench201, None).accuracies
    found: dict[str, dict[str, dict[str, list[dict[str, float]]]]] = {}
    for seed in range(*arguments.seeds):
        options = ["--architectures", arguments.architectures, "--repeats", arguments.repeats, "--seed", str(seed)]
        with tempfile.TemporaryDirectory() as folder:
            rows, record = ranked(Path(folder), [*options, "--scores", ",".join(SCORES)])
        names = [row["architecture"] for row in rows]
        masks = np.stack([NAS_BENCH_201.parse(name) for name in names])
        accuracy = np.array([accuracies[name] for name in names])
        columns = {score: np.array([float(row[score]) for row in rows]) for score in SCORES}
        for label, subset in SUBSETS.items():
            sums = aggregates(NAS_BENCH_201, chosen_scores(NAS_BENCH_201, subset), masks, columns)
            for part, chosen in halves(names, NAS_BENCH_201).items():
                for name in ("log_rank_sum", "smoothed"):
                    one = judged(sums[name][chosen], accuracy[chosen])
                    found.setdefault(label, {}).setdefault(name, {}).setdefault(part, []).append(one)
        print(seed, found["default"]["smoothed"]["all"][-1], record["process_seconds"], flush=True)
    content: dict[str, Any] = {
        "what": "sums of log ranks of subsets of scores, all of NAS-Bench-201; spread over seeds",
        "images": "synthetic",
        "seeds": list(range(*arguments.seeds)),
        "rows": [
            {
                "subset": label,
                "scores": list(SUBSETS[label]),
                **{
                    name: {
                        part: {key: over_batches([one[key] for one in some]) for key in some[0]}
                        for part, some in parts.items()
                    }
                    for name, parts in by_sum.items()
                },
            }
            for label, by_sum in found.items()
        ],
    }
    if arguments.name:
        write(arguments.name, content)


if __name__ == "__main__":
    main()
