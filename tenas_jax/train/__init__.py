"""A model: `python -m tenas_jax.train`.

An architecture and images with classes come in; a trained network goes out, with the metrics of every epoch, in the folder
of a run that resumes after a kill.
"""


def main(argv: list[str] | None = None) -> int:
    """The command line, loaded when it is used.

    Args:
        argv: arguments without the program's name; by default those of the process.

    Returns:
        The exit code.
    """
    from tenas_jax.train.command import main as command

    return command(argv)
