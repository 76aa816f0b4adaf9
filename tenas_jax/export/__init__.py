"""A trained network for others: `python -m tenas_jax.export`.

The folder of a training, or an architecture alone, comes in; weights with a description, source code for Flax and for
PyTorch that stands alone, or ONNX go out. State dicts of published PyTorch networks come in too.
"""


def main(argv: list[str] | None = None) -> int:
    """The command line, loaded when it is used.

    Args:
        argv: arguments without the program's name; by default those of the process.

    Returns:
        The exit code.
    """
    from tenas_jax.export.command import main as command

    return command(argv)
