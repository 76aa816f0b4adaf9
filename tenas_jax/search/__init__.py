"""One architecture: `python -m tenas_jax.search`.

A space, images and a strategy come in; a run's folder and one architecture go out.
"""


def main(argv: list[str] | None = None) -> int:
    """The command line, loaded when it is used.

    Args:
        argv: arguments without the program's name; by default those of the process.

    Returns:
        The exit code.
    """
    from tenas_jax.search.command import main as command

    return command(argv)
