"""Options of a command as a person gives them in Python."""

from dataclasses import fields
from pathlib import Path
from typing import Any

from tenas_jax.errors import InputError

PATHS = ("data", "benchmark", "figures", "output", "hardware")


def config_of(kind: Any, options: dict[str, Any]) -> Any:
    """A configuration of options as a person gives them.

    Args:
        kind: the class of configurations.
        options: by name; paths may be text.

    Raises:
        InputError: for an option that there is not.
    """
    known = [field.name for field in fields(kind)]
    for name in options:
        if name not in known:
            raise InputError(f"there is no option {name!r}; there are {', '.join(known)}.")
    given = {n: Path(value) if n in PATHS and value is not None else value for n, value in options.items()}
    return kind(**given)
