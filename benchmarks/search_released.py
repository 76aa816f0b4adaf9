"""The released search whole: a run of NAS-Bench-201 and the first round of DARTS, by us and by the PyTorch reference.

    python benchmarks/search_released.py ours --folder WORK [--space darts] [--data IMAGES.npz] [--seed 0]
    python benchmarks/search_released.py pytorch --folder WORK [--space darts] [--data IMAGES.npz] [--seed 0]
    python benchmarks/search_released.py write --folder WORK [--table ACCURACIES.csv.gz]

Each part takes between ten minutes and an hour and keeps what it has in WORK: stopped, the same command goes on, candidate
by candidate. Ours of NAS-Bench-201 is the command line of the search. `write` reads the parts that are finished and writes
`results/search_released.json`. Seconds of the processor are those that no other work on the machine adds to; pinned to one
core (`taskset -c 0`) they are the seconds of that core.
"""

# PyTorch is an extra that the type checker may have to do without.
# pyright: reportMissingImports=false

import argparse
import hashlib
import itertools
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from scipy.stats import spearmanr

from common.records import record, write

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
        self._record = record()
        self.begin()

    def begin(self) -> None:
        """Starts to count the processor's seconds of a candidate."""
        self._begun = time.process_time()

    def spent(self) -> float:
        """Of the processor, since `begin`."""
        return time.process_time() - self._begun

    def done(self, candidate: dict[str, Any]) -> None:
        """Adds a candidate, with the processor's seconds since the one before."""
        self.content["candidates"].append({**candidate, "processor_seconds": round(self.spent(), 2)})
        self.keep()
        self.begin()

    def keep(self, **more: Any) -> None:
        """Writes everything, with the record of this session."""
        self.content |= {**more, "record": self._record}
        beside = self.path.with_suffix(".tmp")
        beside.write_text(json.dumps(self.content))
        os.replace(beside, self.path)


def remembered(indicator: Any, journal: Journal) -> Any:
    """An indicator whose answers an earlier session may have given: they are known by their keys and masks."""
    from tenas_jax.scores.indicators import Scores

    kept = {found["question"]: found for found in journal.content["candidates"]}

    def evaluate(key: Any, masks: np.ndarray) -> Any:
        import jax

        asked = np.asarray(jax.random.key_data(key)).tobytes() + np.packbits(masks).tobytes()
        question = f"{indicator.name} {hashlib.sha256(asked).hexdigest()[:16]}"
        if question not in kept:
            journal.begin()
            found = indicator.evaluate(key, masks)
            journal.done({"question": question, "values": found.values.tolist(), "health": found.health.tolist()})
            kept[question] = journal.content["candidates"][-1]
        return Scores(np.array(kept[question]["values"]), np.array(kept[question]["health"]))

    return indicator._replace(evaluate=evaluate)


def compiled(indicators: Any, space: Any, journal: Journal) -> None:
    """Compiles, before the first candidate is timed."""
    import jax

    journal.begin()
    for indicator in indicators:
        indicator.evaluate(jax.random.key(0), np.stack([space.supernet()] * 2))
    if "compile_processor_seconds" not in journal.content:
        journal.keep(compile_processor_seconds=round(journal.spent(), 2))


def ours_whole(arguments: argparse.Namespace) -> None:
    """The command line of the search on NAS-Bench-201, which remembers every candidate and not only every round."""
    from tenas_jax.search import strategies
    from tenas_jax.search.command import main as search
    from tenas_jax.spaces.nasbench201 import NAS_BENCH_201

    journal = Journal(arguments.folder / "nasbench201_ours.json")
    build = strategies.indicators

    def built(*settings: Any, **more: Any) -> Any:
        made = build(*settings, **more)
        compiled(made, NAS_BENCH_201, journal)
        return [remembered(indicator, journal) for indicator in made]

    run = arguments.folder / "nasbench201_ours"
    images = ["--dataset", "cifar10", "--data", str(arguments.data)] if arguments.data else []
    with mock.patch.object(strategies, "indicators", built):
        if search(["--preset", "released", "--seed", str(arguments.seed), "--output", str(run), *images]):
            raise SystemExit("the search failed")
    rounds = [json.loads(line) for line in (run / "rounds.jsonl").read_text().splitlines()]
    result = json.loads((run / "result.json").read_text())
    journal.keep(
        images=result["dataset"],
        architecture=result["architecture"],
        **spent(journal.content["candidates"]),
        rounds=[{"candidates": len(one["candidates"])} for one in rounds],
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
    compiled(indicators, DARTS, journal)
    state, info = pruner.step(
        jax.random.key(arguments.seed),
        pruner.init(DARTS),
        space=DARTS,
        indicators=[remembered(indicator, journal) for indicator in indicators],
        rule=released.rule,
        fresh=released.fresh,
        prune_number=released.prune_number,
    )
    journal.keep(
        images=source.name.split(":")[0],
        **spent(journal.content["candidates"]),
        pruned=info.pruned.tolist(),
        alive=state.mask.astype(int).tolist(),
    )


def pytorch(arguments: argparse.Namespace) -> None:
    """The reference: all rounds of NAS-Bench-201, the first of DARTS."""
    import torch

    from pytorch import search as reference

    journal = Journal(arguments.folder / f"{arguments.space}_pytorch.json")
    images = _images(arguments)
    kept = []
    for found in journal.content["candidates"]:
        fields: dict[str, Any] = {name: value for name, value in found.items() if name != "processor_seconds"}
        kept.append(reference.Candidate(**{**fields, "operator": tuple(found["operator"])}))
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
    if {"darts_ours", "darts_pytorch"} <= content.keys():
        content["darts_agreement"] = agreement(
            *(arguments.folder / f"darts_{side}.json" for side in ("ours", "pytorch"))
        )
    write("search_released", content)


def agreement(ours: Path, pytorch: Path) -> dict[str, Any]:
    """How alike two rounds decide, and how alike the repeats of one round.

    A repeat's change is that of an indicator by a candidate, relative to the supernet; correlations are Spearman's.
    """
    found, theirs = (json.loads(path.read_text()) for path in (ours, pytorch))
    names = {"condition_number": "condition_numbers", "linear_regions": "region_counts"}
    changes: dict[str, dict[str, np.ndarray]] = {}
    for name, key in names.items():
        measured = {
            "ours": [one["values"] for one in found["candidates"] if one["question"].startswith(name)],
            "pytorch": [one[key] for one in theirs["candidates"]],
        }
        both = {side: np.array(values, float) for side, values in measured.items()}
        changes[name] = {side: (values[..., 1] - values[..., 0]) / values[..., 0] for side, values in both.items()}
    pruned = [{tuple(place) for place in one["pruned"]} for one in (found, theirs)]
    candidates = len(theirs["candidates"])
    return {
        "pruned": len(pruned[0]),
        "pruned_by_both": len(pruned[0] & pruned[1]),
        "expected_by_chance": round(len(pruned[0]) * len(pruned[1]) / candidates, 1),
        "repeats": {
            side: {name: alike([*one[side].T]) for name, one in changes.items()} for side in ("ours", "pytorch")
        },
        "rounds": {name: alike([one[side].mean(1) for side in ("ours", "pytorch")]) for name, one in changes.items()},
    }


def alike(values: list[np.ndarray]) -> float:
    """The mean of Spearman's rho over all pairs."""
    found = [np.asarray(spearmanr(*pair))[0] for pair in itertools.combinations(values, 2)]
    return round(float(np.mean(found)), 3)


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
