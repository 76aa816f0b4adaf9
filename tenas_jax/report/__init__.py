"""A page: `python -m tenas_jax.report`.

The files of a run come in, whatever state they are in; a self-contained HTML page goes out, and its plots as files.
"""


def main(argv: list[str] | None = None) -> int:
    """The command line, loaded when it is used.

    Args:
        argv: arguments without the program's name; by default those of the process.

    Returns:
        The exit code.
    """
    from tenas_jax.report.command import main as command

    return command(argv)
