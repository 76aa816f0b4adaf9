"""What the options about cost and hardware ask for: limits, a front, and numbers of what was found."""

from typing import Any, NamedTuple

import numpy as np

from tenas_jax.command_line import say
from tenas_jax.errors import InputError
from tenas_jax.search import affordable
from tenas_jax.search.budget import Budget
from tenas_jax.search.calibration import MeasuredLatency
from tenas_jax.search.config import Config
from tenas_jax.search.hardware import OPTIONS, HardwareTable, amounts_of, read_hardware
from tenas_jax.search.measures import Limit, Measure, counted
from tenas_jax.search.predictor import predicted
from tenas_jax.spaces.space import SearchSpace

PARETO = ("latency", "energy", "parameters", "flops")
MOST_BATCH = 65_536  # images of a forward pass that is timed


class Asked(NamedTuple):
    """Resolved.

    Attributes:
        budget: what every architecture has to meet; None for no limit.
        pareto: the cost of a front; None where one architecture is sought.
        shown: measures that the result tells of what was found, beside those of the limits.
        measured: latencies on the device at hand; None where they are not asked for.
        goes_by_measured: whether the search needs them calibrated before it begins.
        identity: what decides the search; empty where only parameters and multiply-adds are limited.
    """

    budget: Budget | None
    pareto: Measure | None
    shown: tuple[Measure, ...]
    measured: MeasuredLatency | None
    goes_by_measured: bool
    identity: dict[str, Any]

    def measures(self) -> list[tuple[Measure, float | None]]:
        """Every measure that is told, once, with its limit; counted costs aside, which are always told."""
        found: dict[tuple[str, str], tuple[Measure, float | None]] = {}
        limits = self.budget.others if self.budget else ()
        for measure, most in (*limits, *((one, None) for one in (self.pareto, *self.shown) if one)):
            if measure.on:
                found.setdefault((measure.name, measure.on), (measure, most))
        return list(found.values())


def check_limits(config: Config) -> None:
    """Refuses options about cost and hardware that make no sense, before anything is opened.

    Args:
        config: as the command line names it.

    Raises:
        InputError: in one sentence.
    """
    for option, value in (("--max-params", config.max_params), ("--max-flops", config.max_flops)):
        if value is not None and value < 1:
            raise InputError(f"{option} must be at least 1; it is {value}.")
    for name, text in (("latency", config.max_latency), ("energy", config.max_energy)):
        if text is not None:
            amounts_of(name, text)
    if config.measure_latency is not None and not 1 <= config.measure_latency <= MOST_BATCH:
        raise InputError(
            f"--measure-latency takes a batch from 1 to {MOST_BATCH:,} images; it is {config.measure_latency}."
        )
    if config.pareto is None:
        return
    if config.pareto.partition("@")[0].strip() not in PARETO:
        raise InputError(
            f"--pareto takes one of {', '.join(PARETO)}, with @DEVICE behind it for one of a table; it is "
            f"{config.pareto!r}."
        )
    if config.strategy == "prune":
        raise InputError(
            "--pareto is a front of many architectures, and pruning ends with one; take --strategy evolve or exhaustive."
        )


def asked(config: Config, space: SearchSpace) -> Asked:
    """Opens what the options about cost and hardware name.

    Args:
        config: checked by `check_limits`.
        space: the search space.

    Raises:
        InputError: for bad input, or limits that nothing meets; those on measured latencies are checked once these are
            calibrated.
    """
    source = _Sources(config, space)
    others = [
        Limit(source.measure(name, device, OPTIONS[name]), most)
        for name, text in (("latency", config.max_latency), ("energy", config.max_energy))
        for most, device in (amounts_of(name, text) if text else ())
    ]
    pareto = None
    if config.pareto is not None:
        name, _, device = (part.strip() for part in config.pareto.partition("@"))
        if device and name not in OPTIONS:
            raise InputError(f"--pareto {name} has no device, as it is counted; it is {config.pareto!r}.")
        pareto = source.measure(name, device, "--pareto") if name in OPTIONS else counted(name)
    limited = config.max_params is not None or config.max_flops is not None or others
    budget = Budget(config.max_params, config.max_flops, tuple(others)) if limited else None
    by_measured = any(_is_measured(m) for m in [*(limit.measure for limit in others), *([pareto] if pareto else [])])
    if budget and not by_measured:
        check_budget(budget, space, config.strategy)
    identity: dict[str, Any] = {"limits": [limit.record() for limit in others]} if others else {}
    identity |= {"pareto": {"measure": pareto.name, "by": pareto.identity}} if pareto else {}
    return Asked(budget, pareto, source.shown(), source.measured, by_measured, identity)


def check_budget(budget: Budget, space: SearchSpace, strategy: str) -> None:
    """Refuses limits that nothing meets which a strategy can end with.

    Args:
        budget: the limits.
        space: the search space.
        strategy: one of `config.STRATEGIES`; pruning starts without the operator "none".

    Raises:
        InputError: with the least that there is.
    """
    budget.check(space, space.supernet() if strategy == "prune" else None)
    if strategy == "prune" and budget.goes_through(space):
        reached, there = (affordable.count(budget, space, mask) for mask in (space.supernet(), space.alternatives()))
        if reached < there:
            say(
                f'pruning never chooses "none": it can reach {reached:,} of the {there:,} architectures that meet the '
                "limits; --strategy evolve and exhaustive can reach all"
            )


def _is_measured(measure: Measure) -> bool:
    return isinstance(measure.identity, dict) and "measured" in measure.identity


class _Sources:
    """Where latencies and energies come from; each is opened once."""

    def __init__(self, config: Config, space: SearchSpace):
        self._space = space
        self._table = read_hardware(config.hardware) if config.hardware else None
        self._predictor = predicted(config.predictor, space) if config.predictor is not None else None
        self.measured = MeasuredLatency(space, config.measure_latency) if config.measure_latency else None
        self._measure = self.measured.measure if self.measured else None

    def measure(self, name: str, device: str, option: str) -> Measure:
        """Of a device of the table; of latencies without one the predictor, or what is measured."""
        if not device and name == "latency" and (self._predictor or self._measure):
            return self._predictor or self._measure  # pyright: ignore[reportReturnType]
        if self._table is None:
            others = ", --predictor or --measure-latency" if name == "latency" and not device else ""
            raise InputError(f"{option} needs something that knows the {name}: give --hardware TABLE{others}.")
        found = self._table.measure(name, device, option)
        _say_unknown(self._table, found, self._space)
        return found

    def shown(self) -> tuple[Measure, ...]:
        """All there are, but for what is measured, which is told apart."""
        table = self._table
        columns = [table.measure(name, device) for name, device in table.columns] if table else []
        return (*([self._predictor] if self._predictor else []), *columns)


def _say_unknown(table: HardwareTable, measure: Measure, space: SearchSpace) -> None:
    """Says how many architectures a table does not know; refuses one that knows none, or cannot know all."""
    if not space.is_enumerable:
        raise InputError(
            f"{table.path} cannot hold every architecture of {space.name}, which is too large for a table; give "
            "--predictor, a function that knows them all."
        )
    unknown = int(np.isnan(measure.values(space, space.enumerated())).sum())
    if unknown == space.size:
        raise InputError(f"{table.path} holds no {measure.title} of an architecture of {space.name}.")
    if unknown:
        say(f"{table.path} has no {measure.title} of {unknown:,} of {space.size:,} architectures: they meet no limit")
