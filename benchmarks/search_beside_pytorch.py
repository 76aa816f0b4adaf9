"""The released search, by PyTorch and by us, on some candidates of its first round, in one run.

    python benchmarks/search_beside_pytorch.py [--space darts] [--data IMAGES.npz] [--candidates 2] [--threads 1]

A whole search of the released settings takes PyTorch about 25 minutes on two cores, on DARTS over an hour, so candidates of
the first round are timed: three repeats each, supernet and candidate, batch 72 (DARTS: 14) and 3 x 1000 patches. Writes
`results/search_beside_pytorch.json`, or `results/search_beside_pytorch_darts.json`.
"""

# PyTorch is an extra that the type checker may have to do without.
# pyright: reportMissingImports=false

import argparse
import statistics
import time
from pathlib import Path

import jax
import numpy as np
import torch

from common.records import write
from pytorch.search import search
from tenas_jax.data import open_images
from tenas_jax.scores.catalogue import chosen_scores
from tenas_jax.scores.indicators import indicators as indicators_of
from tenas_jax.scores.presets import preset
from tenas_jax.spaces.registry import SPACES


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", choices=sorted(SPACES), default="nasbench201")
    parser.add_argument("--data", type=Path, help="an .npz of CIFAR-10 images; synthetic ones without it")
    parser.add_argument("--candidates", type=int, default=2)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser.parse_args()


def main() -> None:
    arguments = read_arguments()
    torch.set_num_threads(arguments.threads)

    source = open_images("cifar10", arguments.data) if arguments.data else open_images()
    images = source.read(np.arange(min(source.size, 2000)))
    space = SPACES[arguments.space]
    released = preset("released", space=space)
    indicators = indicators_of(space, source, chosen_scores(space, released.scores), repeats=released.repeats)
    supernet = space.supernet()
    places = np.argwhere(supernet)
    # The same candidates as the reference's: evenly spread over the round.
    chosen = places[np.arange(arguments.candidates) * len(places) // arguments.candidates]
    for indicator in indicators:  # compiles
        indicator.evaluate(jax.random.key(0), np.stack([supernet, supernet]))

    ours, scores = [], []
    for number, place in enumerate(chosen):
        without = supernet.copy()
        without[tuple(place)] = False
        start = time.perf_counter()
        key = jax.random.key(number + 1)
        scores.append([i.evaluate(key, np.stack([supernet, without])).values.tolist() for i in indicators])
        ours.append(time.perf_counter() - start)
    result = search(images, 0, space=arguments.space, limit_rounds=1, limit_candidates=arguments.candidates)
    theirs = [candidate.seconds for candidate in result.rounds[0]]
    content = {
        "what": "seconds a candidate of the first round of the released search",
        "space": space.name,
        "images": source.name.split(":")[0],
        "threads_of_pytorch": arguments.threads,
        "torch": torch.__version__,
        "ours": {
            "seconds": [round(seconds, 2) for seconds in ours],
            "compile_seconds": round(sum(indicator.compile_seconds for indicator in indicators), 1),
            "scores": scores,
        },
        "pytorch": {
            "seconds": [round(seconds, 2) for seconds in theirs],
            "condition_numbers": [np.asarray(c.condition_numbers).tolist() for c in result.rounds[0]],
            "region_counts": [np.asarray(c.region_counts).tolist() for c in result.rounds[0]],
        },
        "ratio": round(statistics.median(theirs) / statistics.median(ours), 2),
    }
    print({key: content[key] for key in ("ratio",)}, content["ours"]["seconds"], content["pytorch"]["seconds"])
    write("search_beside_pytorch" if space.name == "nasbench201" else f"search_beside_pytorch_{space.name}", content)


if __name__ == "__main__":
    main()
