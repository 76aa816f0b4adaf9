"""A search, resolved: every option checked, everything opened. What runs it sees no command line any more."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import jax

from tenas_jax.data import ImageSource, image_batch, open_images, patch_batch
from tenas_jax.errors import InputError
from tenas_jax.options import check_shared
from tenas_jax.rank.benchmark_table import BenchmarkTable, read_table
from tenas_jax.scores.catalogue import catalogue, definitions_of, readable_scores
from tenas_jax.scores.presets import preset
from tenas_jax.search.budget import Budget
from tenas_jax.search.config import EVALUATIONS, STRATEGIES, Config
from tenas_jax.search.limits import Asked, asked, check_limits
from tenas_jax.spaces.preset import Preset
from tenas_jax.spaces.registry import find_space, identity_of
from tenas_jax.spaces.score import REPEATS, Kernel, Patterns, Score
from tenas_jax.spaces.space import SearchSpace


@dataclass(frozen=True)
class Job:
    """All that a search is made of.

    Attributes:
        space: the search space.
        source: of images.
        strategy: one of `config.STRATEGIES`.
        settings: of pruning.
        scores: what decides, by name.
        repeats: draws of images and weights over which a score is averaged.
        evaluations: of an evolution.
        asked: what an architecture may cost, which cost a front is about, and what is told of what was found.
        seed: random seed for images, weights and sampling.
        table: of trained accuracies, for the report.
        output: the run's folder.
        identity: everything that decides the architecture found; plain JSON values. Versions are recorded with the result.
        labels: what the result repeats of the command line.
    """

    space: SearchSpace
    source: ImageSource
    strategy: str
    settings: Preset
    scores: Mapping[str, Score]
    repeats: int
    evaluations: int
    asked: Asked
    seed: int
    table: BenchmarkTable | None
    output: Path
    identity: dict[str, Any]
    labels: dict[str, Any]

    @property
    def budget(self) -> Budget | None:
        """The most that an architecture may cost; None for no limit."""
        return self.asked.budget


def resolve(config: Config) -> Job:
    """Checks and opens everything that a search needs.

    Args:
        config: as the command line names it.

    Raises:
        InputError: for bad input, in one sentence.
    """
    _check(config)
    space = find_space(config.space)
    settings = preset(config.preset, config.ntk, space=space, dataset=config.dataset, prune_number=config.prune_number)
    settings = replace(settings, repeats=config.repeats or settings.repeats)
    names = settings.scores if config.strategy == "prune" else _ranking_scores(config, space)
    scores = readable_scores(space, names, config.ntk, config.ntk_engine)  # pyright: ignore[reportArgumentType]
    repeats = settings.repeats if config.strategy == "prune" else config.repeats or REPEATS
    table = read_table(config.benchmark, config.benchmark_column) if config.benchmark else None
    if table:
        table.check_about(space)
    source = open_images(config.dataset, config.data, seed=config.seed, side=config.side)
    limits = asked(config, space)
    if config.strategy == "exhaustive" and not space.is_enumerable:
        raise InputError(f"{space.name} is too large to go through; take --strategy evolve or --strategy prune.")
    check_images(source, scores)
    decides = _decides(config, settings, scores, repeats)
    identity = {
        "space": identity_of(space),
        "strategy": config.strategy,
        "max_params": config.max_params,
        "max_flops": config.max_flops,
        "seed": config.seed,
        **limits.identity,
        **source.identity,
        **decides,
    }
    labels = {
        "space": config.space,
        "dataset": _dataset(config),
        "seed": config.seed,
        "strategy": config.strategy,
        "config": {**decides, "preset": config.preset, "data": str(config.data) if config.data else None},
    }
    return Job(
        space, source, config.strategy, settings, scores, repeats, config.evaluations or EVALUATIONS, limits, config.seed,
        table, config.output or _usual_output(config, space, scores), identity, labels,
    )  # fmt: skip


def _decides(config: Config, settings: Preset, scores: Mapping[str, Score], repeats: int) -> dict[str, Any]:
    """What a strategy goes by."""
    if config.strategy == "prune":
        found: dict[str, Any] = {"preset": config.preset, "settings": asdict(settings)}
    else:
        found = {"repeats": repeats}
    if config.strategy == "evolve":
        found["evaluations"] = config.evaluations or EVALUATIONS
    return found | {"scores": definitions_of(scores)}


def _ranking_scores(config: Config, space: SearchSpace) -> tuple[str, ...]:
    """What evolution and exhaustive search go by; naming a kernel takes its condition number in."""
    scores = space.family.default_scores
    known = catalogue(space)
    if config.ntk is None or any(isinstance(known[name].work, Kernel) for name in scores):
        return scores
    return ("condition_number", *scores)


def _check(config: Config) -> None:
    """Refuses options that make no sense, alone or together."""
    check_shared(
        seed=config.seed, side=config.side, repeats=config.repeats,
        benchmark=config.benchmark, benchmark_column=config.benchmark_column,
    )  # fmt: skip
    if config.output is not None and not config.output.name:
        raise InputError(f"--output must name a folder; it is {str(config.output)!r}.")
    if config.strategy not in STRATEGIES:
        raise InputError(f"the strategy {config.strategy!r} is unknown; choose one of {', '.join(STRATEGIES)}.")
    if config.evaluations is not None and (config.evaluations < 1 or config.strategy != "evolve"):
        raise InputError(
            f"--evaluations is a whole number from 1 and belongs to --strategy evolve; it is {config.evaluations}, with "
            f"--strategy {config.strategy}."
        )
    if config.strategy != "prune" and (config.preset != "default" or config.prune_number is not None):
        raise InputError(
            f"--preset and --prune-number are about pruning; --strategy {config.strategy} goes by the scores of "
            "tenas_jax.rank. Leave them out, or take --strategy prune."
        )
    check_limits(config)


def check_images(source: ImageSource, scores: Mapping[str, Score]) -> None:
    """Refuses images that are too few or too small for some scores now, and not after minutes of compiling.

    Args:
        source: of images.
        scores: by name.

    Raises:
        InputError: where a batch cannot be drawn.
    """
    key = jax.random.key(0)
    for work in {score.work for score in scores.values()}:
        if isinstance(work, Kernel) or (isinstance(work, Patterns) and work.whole):
            image_batch(key, source, work.images if isinstance(work, Kernel) else work.samples, side=work.side)
        elif isinstance(work, Patterns):
            patch_batch(key, source, 1, patch=work.side, channels=work.channels)


def _dataset(config: Config) -> str:
    return config.dataset or ("own" if config.data else "synthetic")


def _usual_output(config: Config, space: SearchSpace, scores: Mapping[str, Score]) -> Path:
    usual = preset(config.preset, space=space, dataset=config.dataset).scores
    known = catalogue(space)
    named = [name for name in (config.ntk, config.ntk_engine) if name]
    unusual = named and definitions_of(scores) != definitions_of({name: known[name] for name in usual})
    kernel = "".join(f"-{name}" for name in named) if unusual else ""
    number = f"-prune{config.prune_number}" if config.prune_number is not None else ""
    side = f"-side{config.side}" if config.side is not None else ""
    way = config.preset if config.strategy == "prune" else config.strategy
    numbers = ("evaluations", "repeats", "max_params", "max_flops")
    limits = "".join(f"-{name.replace('_', '')}{getattr(config, name)}" for name in numbers if getattr(config, name))
    # Amounts and devices may hold anything; names of folders may not.
    for name in ("max_latency", "max_energy", "pareto"):
        text = re.sub(r"[^\w.,@-]", "", getattr(config, name) or "")
        limits += f"-{name.replace('_', '')}{text}" if text else ""
    return Path("runs") / f"{space.name}-{_dataset(config)}{side}-{way}{kernel}{number}{limits}-seed{config.seed}"
