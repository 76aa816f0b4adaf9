"""ResNet-20 and ResNet-18 for images of 32x32 (He et al. 2016), in Flax Linen and in PyTorch, equal in every layer.

ResNet-20 is the one of the paper's section 4.2 with 1x1 convolutions as shortcuts, ResNet-8, for tests, has one block a
stage, and ResNet-18 is the usual one for CIFAR with a 3x3 stem. Batch norm uses stored statistics: every image is treated
on its own.
"""

# pyright: reportMissingImports=false

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

CLASSES = 10
# Name: (channels of the stages, blocks a stage).
RESNETS = {"resnet8": ((16, 32, 64), 1), "resnet20": ((16, 32, 64), 3), "resnet18": ((64, 128, 256, 512), 2)}


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    channels: int
    stride: int
    train: bool = False

    @nn.compact
    def __call__(self, x):
        """Feature maps (n, h, w, c)."""

        def convolution(x, kernel, stride):
            y = nn.Conv(self.channels, (kernel, kernel), (stride, stride), padding=kernel // 2, use_bias=False)(x)
            return nn.BatchNorm(use_running_average=not self.train)(y)

        y = convolution(nn.relu(convolution(x, 3, self.stride)), 3, 1)
        if x.shape != y.shape:
            x = convolution(x, 1, self.stride)
        return nn.relu(x + y)


class ResNet(nn.Module):
    """Logits (n, 10) of images (n, 32, 32, 3)."""

    stages: tuple[int, ...]
    blocks: int
    train: bool = False

    @nn.compact
    def __call__(self, x):
        """Logits."""
        x = nn.Conv(self.stages[0], (3, 3), padding=1, use_bias=False)(x)
        x = nn.relu(nn.BatchNorm(use_running_average=not self.train)(x))
        for stage, channels in enumerate(self.stages):
            for block in range(self.blocks):
                x = Block(channels, 2 if stage > 0 and block == 0 else 1, self.train)(x)
        return nn.Dense(CLASSES)(x.mean((1, 2)))


def resnet(name: str, seed: int = 0, side: int = 32) -> tuple[ResNet, Any]:
    """A module and its initial variables, on a CPU and in float32."""
    net = ResNet(*RESNETS[name])
    return net, jax.jit(net.init)(jax.random.key(seed), jnp.zeros((1, side, side, 3)))


def torch_resnet(name: str):
    """The same network in PyTorch, in eval mode; images are (n, 3, 32, 32)."""
    import torch
    from torch import nn as tnn

    def convolution(before, after, kernel, stride):
        layer = tnn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)
        return tnn.Sequential(layer, tnn.BatchNorm2d(after))

    class TorchBlock(tnn.Module):
        def __init__(self, before, after, stride):
            super().__init__()
            self.main = tnn.Sequential(
                convolution(before, after, 3, stride), tnn.ReLU(), convolution(after, after, 3, 1)
            )
            same = before == after and stride == 1
            self.shortcut = tnn.Identity() if same else convolution(before, after, 1, stride)

        def forward(self, x):
            return torch.relu(self.shortcut(x) + self.main(x))

    stages, blocks = RESNETS[name]
    layers, before = [convolution(3, stages[0], 3, 1), tnn.ReLU()], stages[0]
    for stage, channels in enumerate(stages):
        for block in range(blocks):
            layers.append(TorchBlock(before, channels, 2 if stage > 0 and block == 0 else 1))
            before = channels
    head = [tnn.AdaptiveAvgPool2d(1), tnn.Flatten(), tnn.Linear(before, CLASSES)]
    return tnn.Sequential(*layers, *head).eval()


def load_weights(model, variables) -> None:
    """Fills a PyTorch network with the parameters and statistics of the Linen one.

    Args:
        model: from `torch_resnet`.
        variables: of the network of the same name.
    """
    import numpy as np
    import torch

    def layers(params, stats):
        blocks = sorted((name for name in params if name.startswith("Block_")), key=lambda name: int(name[6:]))
        for number in range(len([name for name in params if name.startswith("Conv_")])):
            norm = f"BatchNorm_{number}"
            yield params[f"Conv_{number}"]["kernel"].transpose(3, 2, 0, 1)
            yield from (params[norm]["scale"], params[norm]["bias"], stats[norm]["mean"], stats[norm]["var"])
        for block in blocks:
            yield from layers(params[block], stats[block])
        if "Dense_0" in params:
            yield from (params["Dense_0"]["kernel"].T, params["Dense_0"]["bias"])

    state = {name: tensor for name, tensor in model.state_dict().items() if not name.endswith("num_batches_tracked")}
    values = layers(variables["params"], variables["batch_stats"])
    for tensor, value in zip(state.values(), values, strict=True):
        tensor.copy_(torch.from_numpy(np.array(value)))
