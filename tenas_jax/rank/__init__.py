"""A whole space in order: `python -m tenas_jax.rank`.

Architectures and names of scores come in; a csv with every score, its health and the order goes out, and with a benchmark's
table how well each score ranks.
"""


def main(argv: list[str] | None = None) -> int:
    """The command line, loaded when it is used.

    Args:
        argv: arguments without the program's name; by default those of the process.

    Returns:
        The exit code.
    """
    from tenas_jax.rank.command import main as command

    return command(argv)
