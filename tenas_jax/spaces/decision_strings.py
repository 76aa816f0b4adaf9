"""Architectures of decisions as strings: their options one after another, as in `k3-k5-skip`, letters and digits `0121`."""

import numpy as np

from tenas_jax.errors import InputError
from tenas_jax.spaces.decisions import Decisions


def _separator(space: Decisions) -> str:
    return "" if all(len(option) == 1 for option in space.operators) else "-"


def format_decisions(space: Decisions, choice: np.ndarray) -> str:
    """The options, with `-` between them unless each is one letter or digit.

    Args:
        space: the space.
        choice: operator numbers (1, decisions).
    """
    return _separator(space).join(space.operators[option] for option in choice[0])


def parse_decisions(space: Decisions, architecture: str) -> np.ndarray:
    """Operator numbers (1, decisions) of what `format_decisions` wrote.

    Args:
        space: the space.
        architecture: the string.

    Raises:
        InputError: for another number of options, one that its decision does not have, or options that do not go together.
    """
    separator = _separator(space)
    options = architecture.strip().split(separator) if separator else list(architecture.strip())
    if len(options) != len(space.decisions):
        form = separator.join(decision.options[-1] for decision in space.decisions)
        raise InputError(
            f"the architecture {architecture!r} has {len(options)} options; {space.name} has {len(space.decisions)} "
            f"decisions, as in {form}."
        )
    for option, decision in zip(options, space.decisions, strict=True):
        if option not in decision.options:
            raise InputError(
                f"the architecture {architecture!r} has the unknown option {option!r} as {decision.name!r}; it is one of "
                f"{', '.join(decision.options)}."
            )
    choice = np.array([[space.operators.index(option) for option in options]])
    if not space.valid(space.one_hot(choice)[None])[0]:
        raise InputError(f"the architecture {architecture!r} is none of {space.name}: its options do not go together.")
    return choice
