"""A whole space in order: `python -m tenas_jax.rank`.

Architectures and names of scores come in; a csv with every score, its health and the order goes out, and with a benchmark's
table how well each score ranks.
"""

import sys
from types import ModuleType
from typing import Any


def main(argv: list[str] | None = None) -> int:
    """The command line, loaded when it is used.

    Args:
        argv: arguments without the program's name; by default those of the process.

    Returns:
        The exit code.
    """
    from tenas_jax.rank.command import main as command

    return command(argv)


class _Callable(ModuleType):
    """This module can be called: `tenas_jax.rank(...)`.

    The room and what it does have one name. A function of that name in `tenas_jax` would hide the room, or be hidden by
    it, whichever was imported last. Python lets a module have a class whose instances can be called: nothing is hidden.
    """

    def __call__(self, **options: Any) -> Any:
        from tenas_jax.rank.result import rank

        return rank(**options)


sys.modules[__name__].__class__ = _Callable
