"""TE-NAS's networks in PyTorch: the masked supernets of NAS-Bench-201 and DARTS, for the NTK and for linear regions.

Chen, Gong and Wang, "Neural Architecture Search on ImageNet in Four GPU Hours" (ICLR 2021), after the released code.
Parameter names are the released ones, so its weights load with `load_state_dict`. Nothing here depends on JAX or on
`tenas_jax`: the module is the second route by which that package is checked, and what it is timed against.

Every block is ReLU, convolution, batch norm (epsilon 1e-5, learned scale and shift, always the statistics of the batch).
Convolutions have no bias. Pooling has no batch norm, and padded positions do not count in an average.
"""

# PyTorch is an extra that the type checker may have to do without.
# pyright: reportMissingImports=false

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Space = Literal["nasbench201", "darts"]

OPERATORS = {
    "nasbench201": ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"),
    "darts": (
        "none",
        "skip_connect",
        "sep_conv_3x3",
        "sep_conv_5x5",
        "dil_conv_3x3",
        "dil_conv_5x5",
        "avg_pool_3x3",
        "max_pool_3x3",
    ),
}
# (source, target) in the order of a mask's rows. A DARTS cell has two input states, so its node 0 is state 2.
EDGES = {
    "nasbench201": tuple((j, i) for i in range(1, 4) for j in range(i)),
    "darts": tuple((j, i + 2) for i in range(4) for j in range(i + 2)),
}
MASK_SHAPES = {"nasbench201": (1, 6, 5), "darts": (2, 14, 8)}
DEAD = -1000.0  # the logit of a pruned operator: its softmax weight is exactly 0


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """Batch norm that always takes the batch's statistics; running ones would never be read."""
    return nn.BatchNorm2d(channels, eps=1e-5, track_running_stats=False)


class ReluConvBN(nn.Module):
    """ReLU, convolution, batch norm."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1):
        super().__init__()
        convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
        self.op = nn.Sequential(nn.ReLU(), convolution, batch_norm(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Maps (b, inputs, h, w) to (b, outputs, h / stride, w / stride)."""
        return self.op(x)


class Separable(nn.Module):
    """ReLU, depthwise convolution, 1x1 convolution, batch norm; with dilation 2 this is DARTS's `dil_conv`."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, dilation: int = 1):
        super().__init__()
        padding = dilation * (kernel // 2)
        self.op = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(inputs, inputs, kernel, stride, padding, dilation, groups=inputs, bias=False),
            nn.Conv2d(inputs, outputs, 1, bias=False),
            batch_norm(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps (b, inputs, h, w) to (b, outputs, h / stride, w / stride)."""
        return self.op(x)


class TwiceSeparable(nn.Module):
    """DARTS's `sep_conv`: two separable blocks, the first with the stride."""

    def __init__(self, channels: int, kernel: int, stride: int):
        super().__init__()
        self.op_a = Separable(channels, channels, kernel, stride)
        self.op_b = Separable(channels, channels, kernel)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (b, channels, h, w) to (b, channels, h / stride, w / stride)."""
        return self.op_b(self.op_a(x))


class FactorizedReduce(nn.Module):
    """DARTS's skip connection of stride 2: two 1x1 convolutions on grids shifted by one pixel, concatenated."""

    def __init__(self, channels: int):
        super().__init__()
        halves = (channels // 2, channels - channels // 2)
        self.relu = nn.ReLU()
        self.convs = nn.ModuleList(nn.Conv2d(channels, half, 1, stride=2, bias=False) for half in halves)
        self.bn = batch_norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (b, channels, h, w) to (b, channels, ceil(h / 2), ceil(w / 2))."""
        x = self.relu(x)
        # One row and one column of zeros at the far end, so that both grids have the same size on odd sides too.
        shifted = functional.pad(x, (0, 1, 0, 1))[:, :, 1:, 1:]
        return self.bn(torch.cat([self.convs[0](x), self.convs[1](shifted)], dim=1))


class Zero(nn.Module):
    """The operator `none`."""

    def __init__(self, stride: int):
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Zeros of the shape that a convolution of this stride would give."""
        return x[:, :, :: self.stride, :: self.stride].mul(0.0)


def operator(name: str, channels: int, stride: int) -> nn.Module:
    """Builds the operator of that name, from `channels` to `channels` channels."""
    match name:
        case "none":
            return Zero(stride)
        case "skip_connect":
            return nn.Identity() if stride == 1 else FactorizedReduce(channels)
        case "nor_conv_1x1" | "nor_conv_3x3":
            return ReluConvBN(channels, channels, int(name[-1]), stride)
        case "sep_conv_3x3" | "sep_conv_5x5":
            return TwiceSeparable(channels, int(name[-1]), stride)
        case "dil_conv_3x3" | "dil_conv_5x5":
            return Separable(channels, channels, int(name[-1]), stride, dilation=2)
        case "avg_pool_3x3":
            return nn.AvgPool2d(3, stride, padding=1, count_include_pad=False)
        case "max_pool_3x3":
            return nn.MaxPool2d(3, stride, padding=1)
    raise ValueError(f"the operator must be one of NAS-Bench-201 or DARTS; it is {name!r}.")


class Mixture(nn.ModuleList):
    """The operators of a NAS-Bench-201 edge; their weighted sum, in which an operator of weight 0 is not run."""

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """Maps (b, c, h, w) and (operators,) to the edge's value."""
        return weighted_sum(self, x, weights)


class NamedMixture(nn.Module):
    """The operators of a DARTS edge: as `Mixture`, under the released code's name."""

    def __init__(self, operators: Sequence[nn.Module]):
        super().__init__()
        self._ops = nn.ModuleList(operators)

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """Maps (b, c, h, w) and (operators,) to the edge's value."""
        return weighted_sum(self._ops, x, weights)


def weighted_sum(operators: nn.ModuleList, x: Tensor, weights: Tensor) -> Tensor:
    """Sums operators by weight; pruned ones cost no time, and their ReLUs are no part of an activation pattern."""
    return sum_of([run(x) * weight for run, weight in zip(operators, weights, strict=True) if weight > 0])


def sum_of(terms: Sequence[Tensor]) -> Tensor:
    """Adds tensors of one shape, left to right."""
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


class Cell(nn.Module):
    """A NAS-Bench-201 cell: four nodes, each the sum of the edges that enter it."""

    def __init__(self, channels: int):
        super().__init__()
        self.edges = nn.ModuleDict(
            {
                f"{i}<-{j}": Mixture([operator(name, channels, 1) for name in OPERATORS["nasbench201"]])
                for j, i in EDGES["nasbench201"]
            }
        )

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """Maps (b, c, h, w) and (edges, operators) to the last node."""
        nodes = [x]
        rows = iter(weights)
        for i in range(1, 4):
            nodes.append(sum_of([self.edges[f"{i}<-{j}"](nodes[j], next(rows)) for j in range(i)]))
        return nodes[-1]


class ResidualBlock(nn.Module):
    """NAS-Bench-201's reduction: two 3x3 blocks, the first of stride 2, beside an average-pool shortcut."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv_a = ReluConvBN(inputs, outputs, 3, stride=2)
        self.conv_b = ReluConvBN(outputs, outputs, 3)
        self.downsample = nn.Sequential(nn.AvgPool2d(2, 2), nn.Conv2d(inputs, outputs, 1, bias=False))

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """Maps (b, inputs, h, w) to (b, outputs, h / 2, w / 2); the weights of operators are not used."""
        return self.downsample(x) + self.conv_b(self.conv_a(x))


class Network(nn.Module):
    """What both skeleton networks share: the stem, the weights of a mask, the head."""

    def __init__(self, images: int, stem: int, features: int, *, use_stem: bool, classes: int = 10):
        super().__init__()
        self.use_stem = use_stem
        self.stem = nn.Sequential(nn.Conv2d(images, stem, 3, padding=1, bias=False), batch_norm(stem))
        self.lastact = nn.Sequential(batch_norm(features), nn.ReLU())
        self.classifier = nn.Linear(features, classes)

    def begin(self, images: Tensor) -> Tensor:
        """The first cell's input: the thin network of the linear regions skips the stem that it owns."""
        return self.stem(images) if self.use_stem else images

    def finish(self, x: Tensor) -> Tensor:
        """Batch norm, ReLU, global average pooling and the linear layer: (b, classes)."""
        return self.classifier(self.lastact(x).mean((2, 3)))


def operator_weights(mask: Tensor, like: Tensor) -> Tensor:
    """Softmax over 0 for alive and -1000 for pruned operators: equal shares, and exactly 0 for what was pruned."""
    return torch.where(mask, 0.0, DEAD).to(like.dtype).softmax(-1)


class NasBench201Network(Network):
    """Stages of one cell, with a residual block that halves the sides between two stages."""

    def __init__(self, images: int, channels: int, stages: int, *, use_stem: bool):
        super().__init__(images, channels, channels * 2 ** (stages - 1), use_stem=use_stem)
        self.cells = nn.ModuleList([Cell(channels)])
        for _ in range(stages - 1):
            self.cells.extend([ResidualBlock(channels, 2 * channels), Cell(2 * channels)])
            channels *= 2

    def forward(self, images: Tensor, mask: Tensor) -> Tensor:
        """Maps (b, c, h, w) and a bool mask (1, 6, 5) to logits (b, 10)."""
        weights = operator_weights(mask, images)[0]
        x = self.begin(images)
        for cell in self.cells:
            x = cell(x, weights)
        return self.finish(x)


class DartsCell(nn.Module):
    """A DARTS cell: two preprocessed inputs, four nodes, concatenated. A reduction cell halves the sides."""

    def __init__(self, before: int, now: int, channels: int, *, reduction: bool):
        super().__init__()
        self.preprocess0 = ReluConvBN(before, channels, 1)
        self.preprocess1 = ReluConvBN(now, channels, 1)
        self.edges = nn.ModuleDict()
        for j, i in EDGES["darts"]:
            stride = 2 if reduction and j < 2 else 1
            operators = [operator(name, channels, stride) for name in OPERATORS["darts"]]
            self.edges[f"{i - 2}<-{j}"] = NamedMixture(operators)

    def forward(self, before: Tensor, now: Tensor, weights: Tensor) -> Tensor:
        """Maps the outputs of the two preceding cells and (edges, operators) to (b, 4 channels, h, w)."""
        states = [self.preprocess0(before), self.preprocess1(now)]
        rows = iter(weights)
        for i in range(4):
            states.append(sum_of([self.edges[f"{i}<-{j}"](states[j], next(rows)) for j in range(i + 2)]))
        return torch.cat(states[2:], dim=1)


class DartsNetwork(Network):
    """One normal and one reduction cell."""

    def __init__(self, images: int, channels: int, *, use_stem: bool):
        super().__init__(images, channels, 8 * channels, use_stem=use_stem)
        normal = DartsCell(channels, channels, channels, reduction=False)
        # The predecessors of cell 1 have the same side, since cell 0 does not reduce.
        reduction = DartsCell(channels, 4 * channels, 2 * channels, reduction=True)
        self.cells = nn.ModuleList([normal, reduction])

    def forward(self, images: Tensor, mask: Tensor) -> Tensor:
        """Maps (b, c, h, w) and a bool mask (2, 14, 8) to logits (b, 10)."""
        weights = operator_weights(mask, images)
        before = now = self.begin(images)
        for cell, rows in zip(self.cells, weights, strict=True):
            before, now = now, cell(before, now, rows)
        return self.finish(now)


def ntk_network(space: Space) -> NasBench201Network | DartsNetwork:
    """The network of the NTK: NAS-Bench-201 with 3 channels and one cell a stage, DARTS with 1 channel and two cells."""
    if space == "nasbench201":
        return NasBench201Network(3, 3, stages=3, use_stem=True)
    return DartsNetwork(3, 1, use_stem=True)


def region_network(space: Space) -> NasBench201Network | DartsNetwork:
    """The thin network of the linear regions: one channel in, one channel wide, no stem; NAS-Bench-201 has one cell."""
    if space == "nasbench201":
        return NasBench201Network(1, 1, stages=1, use_stem=False)
    return DartsNetwork(1, 1, use_stem=False)


def initialise(network: nn.Module, fan: Literal["fan_in", "fan_out"], generator: torch.Generator) -> None:
    """Kaiming normal for convolutions and the linear layer, 1 and 0 for batch norm, 0 for the linear bias; in place.

    Args:
        network: the network.
        fan: `fan_out` for the NTK network, `fan_in` for the linear-region network. A depthwise convolution counts as
            PyTorch counts it: fan_in k^2, fan_out k^2 times the channels.
        generator: where the random numbers come from.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, mode=fan, nonlinearity="relu", generator=generator)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
        if isinstance(module, nn.Linear | nn.BatchNorm2d):
            nn.init.zeros_(module.bias)
