"""The released search whole: a run of NAS-Bench-201 and the first round of DARTS, by us and by the PyTorch reference.

    python benchmarks/search_released.py ours --folder WORK [--space darts] [--data IMAGES.npz] [--seed 0]
    python benchmarks/search_released.py pytorch --folder WORK [--space darts] [--data IMAGES.npz] [--seed 0]
    python benchmarks/search_released.py write --folder WORK [--table ACCURACIES.csv.gz]

Each part takes between ten minutes and an hour and keeps what it has in WORK: stopped, the same command goes on. Ours of
NAS-Bench-201 is the command line of the search, every other part goes on candidate by candidate. `write` reads the parts
that are there and writes `results/search_released.json`. Seconds of the processor are those that no other work on the
machine adds to; pinned to one core (`taskset -c 0`) they are the seconds of that core.
"""

# PyTorch is an extra that the type checker may have to do without.
# pyright: reportMissingImports=false

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from common.records import record, write

PRUNED_A_ROUND = {"nasbench201": 1, "darts": 3}
PARTS = ("nasbench201_ours", "nasbench201_pytorch", "darts_ours", "darts_pytorch")


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("ours", "pytorch", "write"))
    parser.add_argument("--folder", type=Path, required=True, help="what is finished, until it is written")
    parser.add_argument("--space", choices=("nasbench201", "darts"), default="nasbench201")
    parser.add_argument("--data", type=Path, help="an .npz of CIFAR-10 images; synthetic ones without it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--table", type=Path, help="of CIFAR-10 test accuracies on NAS-Bench-201")
    return parser.parse_args()


class Journal:
    """What has been done, kept after every candidate, with the seconds of all sessions."""

    def __init__(self, path: Path):
        """Reads what an earlier session has left."""
        self.path = path
        self.content: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"candidates": []}
        self.begin()

    def begin(self) -> None:
        """Starts to count the processor's seconds of a candidate."""
        self._begun = time.process_time()

    def done(self, candidate: dict[str, Any]) -> None:
        """Adds a candidate, with the processor's seconds since the one before."""
        now = time.process_time()
        self.content["candidates"].append({**candidate, "processor_seconds": round(now - self._begun, 2)})
        self._begun = now
        self.keep()

    def keep(self, **more: Any) -> None:
        """Writes everything, with the record of this session."""
        self.content |= {**more, "record": record()}
        beside = self.path.with_suffix(".tmp")
        beside.write_text(json.dumps(self.content))
        os.replace(beside, self.path)


def ours_whole(arguments: argparse.Namespace) -> None:
    """The command line of the search on NAS-Bench-201; its run folder says how long it took over all sessions."""
    from tenas_jax.search.command import main as search

    run = arguments.folder / "nasbench201_ours"
    images = ["--dataset", "cifar10", "--data", str(arguments.data)] if arguments.data else []
    options = ["--preset", "released", "--seed", str(arguments.seed), "--output", str(run), *images]
    if search(options):
        raise SystemExit("the search failed")
    rounds = [json.loads(line) for line in (run / "rounds.jsonl").read_text().splitlines()]
    result = json.loads((run / "result.json").read_text())
    Journal(arguments.folder / "nasbench201_ours.json").keep(
        images=result["dataset"],
        architecture=result["architecture"],
        seconds=result["wall_seconds"],
        compile_seconds=result["compile_seconds"],
        processor_seconds=round(time.process_time(), 2),  # of the session that ended it
        rounds=[{"candidates": len(one["candidates"]), "seconds": one["seconds"]} for one in rounds],
    )


def ours_round(arguments: argparse.Namespace) -> None:
    """The first round of DARTS: each candidate against the supernet on a batch and weights of its own."""
    import jax

    from tenas_jax.data import open_images
    from tenas_jax.scores.catalogue import chosen_scores
    from tenas_jax.scores.indicators import indicators as indicators_of
    from tenas_jax.scores.presets import preset
    from tenas_jax.search import pruner
    from tenas_jax.spaces.darts import DARTS

    source = open_images("cifar10", arguments.data) if arguments.data else open_images()
    released = preset("released", space=DARTS)
    indicators = indicators_of(DARTS, source, chosen_scores(DARTS, released.scores), repeats=released.repeats)
    journal = Journal(arguments.folder / "darts_ours.json")
    start, first = time.perf_counter(), not journal.content["candidates"]
    for indicator in indicators:  # compiles
        indicator.evaluate(jax.random.key(0), np.stack([DARTS.supernet()] * 2))
    if first:
        journal.keep(images=source.name.split(":")[0], compile_seconds=round(time.perf_counter() - start, 2))

    number = iter(range(10**6))
    kept = journal.content["candidates"]

    def remembered(indicator):
        """The indicator, whose answers an earlier session may have given."""

        def evaluate(key, masks):
            from tenas_jax.scores.indicators import Scores

            place = next(number)
            if place < len(kept):
                return Scores(np.array(kept[place]["values"]), np.array(kept[place]["health"]))
            journal.begin()
            found = indicator.evaluate(key, masks)
            values, health = found.values.tolist(), found.health.tolist()
            journal.done({"score": indicator.name, "values": values, "health": health})
            return found

        return indicator._replace(evaluate=evaluate)

    state, info = pruner.step(
        jax.random.key(arguments.seed),
        pruner.init(DARTS),
        space=DARTS,
        indicators=[remembered(indicator) for indicator in indicators],
        rule=released.rule,
        fresh=released.fresh,
        prune_number=released.prune_number,
    )
    journal.keep(**spent(kept), pruned=info.pruned.tolist(), alive=state.mask.astype(int).tolist())


def pytorch(arguments: argparse.Namespace) -> None:
    """The reference: all rounds of NAS-Bench-201, the first of DARTS."""
    import torch

    from pytorch import search as reference

    journal = Journal(arguments.folder / f"{arguments.space}_pytorch.json")
    images = _images(arguments)
    kept = [
        reference.Candidate(**{k: tuple(v) if k == "operator" else v for k, v in c.items() if k != "processor_seconds"})
        for c in journal.content["candidates"]
    ]
    journal.begin()

    def done(candidate: Any) -> None:
        journal.done(candidate._asdict())

    result = reference.search(
        images,
        arguments.seed,
        space=arguments.space,
        limit_rounds=1 if arguments.space == "darts" else None,
        finished=kept,
        on_candidate=done,
    )
    started = reference.supernet(arguments.space)
    journal.keep(
        images="cifar10" if arguments.data else "synthetic",
        torch=torch.__version__,
        threads=torch.get_num_threads(),
        **spent(journal.content["candidates"]),
        rounds=[{"candidates": len(scored)} for scored in result.rounds],
        pruned=np.argwhere(started & ~result.mask).tolist(),
        alive=result.mask.astype(int).tolist(),
        **({"architecture": reference.architecture(result.mask)} if result.finished else {}),
    )


def spent(candidates: list[dict[str, Any]]) -> dict[str, float]:
    """Of the processor, on all candidates."""
    return {"processor_seconds": round(sum(candidate["processor_seconds"] for candidate in candidates), 2)}


def _images(arguments: argparse.Namespace) -> np.ndarray:
    from tenas_jax.data import open_images

    source = open_images("cifar10", arguments.data) if arguments.data else open_images()
    return source.read(np.arange(min(source.size, 4000)))


def collect(arguments: argparse.Namespace) -> None:
    """Writes the parts that are finished, with the accuracy of what was found."""
    content: dict[str, Any] = {"what": "the released search: seconds of one run, and what it found"}
    for part in PARTS:
        path = arguments.folder / f"{part}.json"
        if not path.exists():
            continue
        found = json.loads(path.read_text())
        if "pruned" in found or "architecture" in found:  # finished
            content[part] = summary(found)
    if arguments.table:
        from tenas_jax.rank.benchmark_table import read_table

        table = read_table(arguments.table, "cifar10_test_accuracy")
        for found in content.values():
            if isinstance(found, dict) and "architecture" in found:
                standing = table.standing(found["architecture"])
                found |= {"accuracy": round(standing.accuracy, 2), "rank_in_table": standing.rank}
    write("search_released", content)


def summary(found: dict[str, Any]) -> dict[str, Any]:
    """A part without the scores of single candidates, which would fill the file."""
    found.pop("candidates")
    found.pop("alive", None)
    return found


def main() -> None:
    arguments = read_arguments()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    parts: dict[str, Callable[[argparse.Namespace], None]] = {"pytorch": pytorch, "write": collect}
    parts["ours"] = ours_whole if arguments.space == "nasbench201" else ours_round
    parts[arguments.part](arguments)


if __name__ == "__main__":
    main()
