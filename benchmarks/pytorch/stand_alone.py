"""The networks that are trained, in PyTorch, with the names of layers that published state dicts have.

NAS-Bench-201 (Dong and Yang 2020) with one cell, DARTS on CIFAR-10 and on ImageNet (Liu et al. 2019). Nothing here depends
on JAX or on `tenas_jax`: it is the second route by which trained networks are checked, and what steps are timed against.
"""

# PyTorch is an extra that the type checker may have to do without.
# pyright: reportMissingImports=false

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

Pairs = Sequence[tuple[str, int]]


class Block(nn.Module):
    """ReLU, then layers, under the published name `op`."""

    def __init__(self, *layers: nn.Module):
        super().__init__()
        self.op = nn.Sequential(nn.ReLU(), *layers)

    def forward(self, x: Tensor) -> Tensor:
        """Runs the layers."""
        return self.op(x)


def relu_conv_bn(inputs: int, outputs: int, kernel: int, stride: int = 1) -> Block:
    """ReLU, convolution, batch norm."""
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return Block(convolution, nn.BatchNorm2d(outputs))


def separable(channels: int, kernel: int, stride: int, dilation: int = 1) -> list[nn.Module]:
    """A depthwise and a pointwise convolution, and a batch norm."""
    padding = dilation * (kernel // 2)
    return [
        nn.Conv2d(channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels),
    ]


class FactorizedReduce(nn.Module):
    """Two 1x1 convolutions of stride 2 on shifted grids."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv_1 = nn.Conv2d(inputs, outputs // 2, 1, 2, bias=False)
        self.conv_2 = nn.Conv2d(inputs, outputs - outputs // 2, 1, 2, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Halves the sides, which must be even."""
        x = functional.relu(x)
        return self.bn(torch.cat([self.conv_1(x), self.conv_2(x[:, :, 1:, 1:])], 1))


class Zero(nn.Module):
    """The operator `none`."""

    def forward(self, x: Tensor) -> Tensor:
        """Zeros."""
        return torch.zeros_like(x)


def operator(name: str, channels: int, stride: int) -> nn.Module:
    """The operator of that name."""
    size = int(name[-1]) if name[-1].isdigit() else 0
    match name.rpartition("_")[0]:
        case "":
            return Zero()
        case "skip":
            return nn.Identity() if stride == 1 else FactorizedReduce(channels, channels)
        case "nor_conv":
            return relu_conv_bn(channels, channels, size, stride)
        case "sep_conv":
            return Block(*separable(channels, size, stride), nn.ReLU(), *separable(channels, size, 1))
        case "dil_conv":
            return Block(*separable(channels, size, stride, 2))
        case "avg_pool":
            return nn.AvgPool2d(3, stride, 1, count_include_pad=False)
        case "max_pool":
            return nn.MaxPool2d(3, stride, 1)
    raise ValueError(f"{name!r} is no operator of NAS-Bench-201 or DARTS.")


class Cell201(nn.Module):
    """A cell of NAS-Bench-201: edges (0, 1), (0, 2), (1, 2), (0, 3), ... in the order of the string."""

    def __init__(self, operators: Sequence[str], channels: int):
        super().__init__()
        self.layers = nn.ModuleList(operator(name, channels, 1) for name in operators)

    def forward(self, x: Tensor) -> Tensor:
        """The last node."""
        nodes, edge = [x], 0
        for node in range(1, 4):
            nodes.append(torch.stack([self.layers[edge + i](nodes[i]) for i in range(node)]).sum(0))
            edge += node
        return nodes[-1]


class Residual(nn.Module):
    """NAS-Bench-201's reduction."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv_a = relu_conv_bn(channels, 2 * channels, 3, 2)
        self.conv_b = relu_conv_bn(2 * channels, 2 * channels, 3)
        self.downsample = nn.Sequential(nn.AvgPool2d(2, 2), nn.Conv2d(channels, 2 * channels, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """Halves the sides and doubles the channels."""
        return self.downsample(x) + self.conv_b(self.conv_a(x))


class NasBench201(nn.Module):
    """The network that NAS-Bench-201 trains."""

    def __init__(
        self, operators: Sequence[str], channels: int = 16, cells: int = 5, classes: int = 10, stages: int = 3
    ):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))
        layers: list[nn.Module] = []
        for stage in range(stages):
            layers += [Residual(channels << (stage - 1))] if stage else []
            layers += [Cell201(operators, channels << stage) for _ in range(cells)]
        self.cells = nn.ModuleList(layers)
        last = channels << (stages - 1)
        self.lastact = nn.Sequential(nn.BatchNorm2d(last), nn.ReLU())
        self.classifier = nn.Linear(last, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of (b, 3, h, w)."""
        x = self.stem(x)
        for cell in self.cells:
            x = cell(x)
        return self.classifier(self.lastact(x).mean((2, 3)))


class CellDarts(nn.Module):
    """A cell of DARTS: two operators a node, in the order of the genotype."""

    def __init__(self, pairs: Pairs, channels: Sequence[int], reduce: bool, before_reduced: bool):
        super().__init__()
        older, newer, own = channels
        self.preprocess0 = FactorizedReduce(older, own) if before_reduced else relu_conv_bn(older, own, 1)
        self.preprocess1 = relu_conv_bn(newer, own, 1)
        self._sources = [source for _, source in pairs]
        self._ops = nn.ModuleList(operator(name, own, 2 if reduce and source < 2 else 1) for name, source in pairs)

    def forward(self, older: Tensor, newer: Tensor) -> Tensor:
        """The inner nodes, concatenated."""
        nodes = [self.preprocess0(older), self.preprocess1(newer)]
        for place in range(0, len(self._ops), 2):
            pair = [self._ops[i](nodes[self._sources[i]]) for i in (place, place + 1)]
            nodes.append(pair[0] + pair[1])
        return torch.cat(nodes[2:], 1)


class AuxiliaryHead(nn.Module):
    """The auxiliary classifier; on ImageNet without its second batch norm."""

    def __init__(self, inputs: int, classes: int, imagenet: bool):
        super().__init__()
        layers: list[nn.Module] = [
            nn.ReLU(),
            nn.AvgPool2d(5, 2 if imagenet else 3, 0, count_include_pad=False),
            nn.Conv2d(inputs, 128, 1, bias=False),
            nn.BatchNorm2d(128),
            nn.ReLU(),
            nn.Conv2d(128, 768, 2, bias=False),
        ]
        layers += [] if imagenet else [nn.BatchNorm2d(768)]
        self.features = nn.Sequential(*layers, nn.ReLU())
        self.classifier = nn.Linear(768, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        return self.classifier(self.features(x).flatten(1))


class Darts(nn.Module):
    """The networks that DARTS trains, `NetworkCIFAR` and `NetworkImageNet`."""

    def __init__(
        self, normal: Pairs, reduce: Pairs, channels: int = 36, cells: int = 20, classes: int = 10, *,
        auxiliary: bool = False, imagenet: bool = False, stem_multiplier: int = 3,
    ):  # fmt: skip
        super().__init__()
        self._imagenet = imagenet
        if imagenet:
            self.stem0 = nn.Sequential(*_halving(3, channels // 2), nn.ReLU(), *_halving(channels // 2, channels))
            self.stem1 = nn.Sequential(nn.ReLU(), *_halving(channels, channels))
            older = newer = channels
        else:
            older = newer = stem_multiplier * channels
            self.stem = nn.Sequential(nn.Conv2d(3, newer, 3, padding=1, bias=False), nn.BatchNorm2d(newer))
        layers, own, reduced = [], channels, imagenet
        for number in range(cells):
            reduces = number in (cells // 3, 2 * cells // 3)
            own *= 2 if reduces else 1
            layers.append(CellDarts(reduce if reduces else normal, (older, newer, own), reduces, reduced))
            older, newer, reduced = newer, 4 * own, reduces
            if number == 2 * cells // 3 and auxiliary:
                self.auxiliary_head = AuxiliaryHead(newer, classes, imagenet)
        self.cells = nn.ModuleList(layers)
        self.classifier = nn.Linear(newer, classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits of (b, 3, h, w), and those of the auxiliary head while it is trained."""
        older = self.stem0(x) if self._imagenet else self.stem(x)
        newer, auxiliary = self.stem1(older) if self._imagenet else older, None
        for number, cell in enumerate(self.cells):
            older, newer = newer, cell(older, newer)
            if number == 2 * len(self.cells) // 3 and self.training and hasattr(self, "auxiliary_head"):
                auxiliary = self.auxiliary_head(newer)
        return self.classifier(newer.mean((2, 3))), auxiliary


def _halving(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs)]
