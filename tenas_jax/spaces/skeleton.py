"""How cells are stacked, for which purpose."""

from typing import Literal, NamedTuple

Family = Literal["nasbench201", "darts"]
Purpose = Literal["ntk", "regions", "trained"]


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


# What is stacked where a space says nothing else: for the NTK and for linear regions the networks of the released TE-NAS,
# for costs those that are trained (Dong and Yang 2020, section 2.1; Liu et al. 2019, section 3.2, whose stem on CIFAR-10
# has three times the channels).
SKELETONS: dict[Family, dict[Purpose, Skeleton]] = {
    "nasbench201": {
        "ntk": Skeleton(channels=3, cells=1),
        "regions": Skeleton(channels=1, cells=1, stages=1, stem=False, classes=0),
        "trained": Skeleton(channels=16, cells=5),
    },
    "darts": {
        "ntk": Skeleton(channels=1, cells=2),
        "regions": Skeleton(channels=1, cells=2, stem=False, classes=0),
        "trained": Skeleton(channels=36, cells=20, stem_multiplier=3),
    },
}
