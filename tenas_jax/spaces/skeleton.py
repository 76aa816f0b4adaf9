"""How cells are stacked, for which purpose."""

from typing import Literal, NamedTuple, get_args

Purpose = Literal["ntk", "regions", "trained"]
PURPOSES = get_args(Purpose)


class Skeleton(NamedTuple):
    """How cells are stacked.

    Attributes:
        channels: channels of the first stage.
        cells: NAS-Bench-201: cells a stage (its N). DARTS: cells in all; those at one and two thirds reduce.
        stages: NAS-Bench-201: stages, with a residual block that halves the sides between two of them. DARTS: not used.
        stem: whether a 3x3 convolution and a batch norm come before the first cell.
        classes: outputs of the linear layer; 0 leaves out pooling and linear layer.
        stem_multiplier: DARTS: the stem has `stem_multiplier * channels` channels.
    """

    channels: int
    cells: int
    stages: int = 3
    stem: bool = True
    classes: int = 10
    stem_multiplier: int = 1
