"""Several searches that differ in their seed, and what they agree about."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tenas_jax.command_line import check_seed, say
from tenas_jax.errors import InputError
from tenas_jax.search.config import Config

MOST_SEEDS = 1000


def seeds_of(text: str) -> list[int]:
    """Seeds as the command line names them.

    Args:
        text: whole numbers and ranges with commas between, such as `0-4,7`.

    Raises:
        InputError: for anything else, a seed that comes twice, or more than `MOST_SEEDS`.
    """
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or len(first + last) > 20:
            raise InputError(f"--seeds must be numbers and ranges such as 0-9 or 0,3,7; it is {text!r}.")
        low, high = int(first), int(last or first)
        if high < low or high - low >= MOST_SEEDS:
            raise InputError(
                f"--seeds must name from 1 to {MOST_SEEDS} seeds, the smaller number first; it is {text!r}."
            )
        found += range(low, high + 1)
    if len(set(found)) < len(found) or len(found) > MOST_SEEDS:
        raise InputError(f"--seeds must name every seed once, and at most {MOST_SEEDS} of them; it is {text!r}.")
    for seed in found:
        check_seed(seed)
    return found


def run_seeds(config: Config, run: Callable[[Config], str]) -> str:
    """Runs or resumes a search a seed, and writes the page that compares them.

    Args:
        config: with its seeds.
        run: runs or resumes a search of one seed, and returns its architecture.

    Returns:
        The architecture that most agree with, see `medoid`.

    Raises:
        InputError: for bad input.
    """
    from tenas_jax.records.files import write_text
    from tenas_jax.report.command import draw
    from tenas_jax.report.compare import compared
    from tenas_jax.report.run_files import choice_of, read_run
    from tenas_jax.search.job import resolve
    from tenas_jax.spaces.registry import find_space

    assert config.seeds is not None
    seeds = seeds_of(config.seeds)
    ones = [replace(config, seeds=None, seed=seed, figures=None) for seed in seeds]
    own = config.output
    folders = [own / f"seed{one.seed}" if own else resolve(one).output for one in ones]
    found = [run(replace(one, output=folder)) for one, folder in zip(ones, folders, strict=True)]
    space = find_space(config.space)
    runs = [read_run(folder)._replace(space=space) for folder in folders]
    choices = [choice_of(space, name, one.result.get("choice")) for name, one in zip(found, runs, strict=True)]
    best = medoid([choice for choice in choices if choice is not None])
    page = (config.output or Path(f"{folders[0]}-to-{seeds[-1]}")) / "report.html"
    write_text(page, compared(runs))
    if config.figures:
        draw(config.figures, runs)
    say(
        f"{len(set(found))} different architectures of {len(found)} seeds; {found.count(found[best])} found the one below"
    )
    say(f"report: {page}")
    return found[best]


def medoid(choices: Sequence[np.ndarray]) -> int:
    """The architecture that shares the most edges with all: a vote, edge by edge, that always ends with one that was found.

    Args:
        choices: operator numbers (cells, edges) of each.

    Returns:
        Its number; of equal ones the first.
    """
    stack = np.array(choices)
    shared = (stack[:, None] == stack[None]).sum((1, 2, 3))
    return int(np.argmax(shared))
