"""TE-NAS's two indicators in PyTorch: the condition number of the empirical NTK, and the number of linear regions.

Chen, Gong and Wang, "Neural Architecture Search on ImageNet in Four GPU Hours" (ICLR 2021), sections 3.1.1 and 3.1.2, with
the released settings. Kernels are summed weight by weight, and patterns are compared by the inner products of their signs.
"""

# PyTorch is an extra that the type checker may have to do without.
# pyright: reportMissingImports=false

import math
import sys

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev
from torch.nn import functional
from torch.overrides import TorchFunctionMode

# What the released search takes for the condition number of a kernel without numbers.
WITHOUT_NUMBERS = 100_000.0


def trained_weights(network: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that the kernel is taken over: convolutions, the linear layer and batch norm's scales, no shifts."""
    return {name: parameter for name, parameter in network.named_parameters() if "weight" in name}


def ntk(network: nn.Module, images: Tensor, mask: Tensor) -> Tensor:
    """The empirical NTK of every image's summed logits, through batch norm in training mode.

    Batch norm makes a logit depend on all images, so that an image costs a backward pass of the whole batch.

    Args:
        network: a network of `pytorch.networks`, in training mode.
        images: (n, c, h, w).
        mask: bool (cells, edges, operators).

    Returns:
        (n, n): inner products of the gradients by `trained_weights`.
    """
    weights = list(trained_weights(network).values())
    outputs = network(images, mask).sum(dim=1)
    by_image = [torch.autograd.grad(output, weights, retain_graph=True, allow_unused=True) for output in outputs]
    kernel = images.new_zeros(len(images), len(images))
    for gradients in zip(*by_image, strict=True):
        if gradients[0] is not None:  # a weight of an operator that is alive
            of_weight = torch.stack(gradients).flatten(start_dim=1)
            kernel.addmm_(of_weight, of_weight.T)
    return kernel


def ntk_functional(network: nn.Module, images: Tensor, mask: Tensor) -> Tensor:
    """The same kernel by `torch.func.jacrev`, all backward passes at once: a second route for the tests.

    Args:
        network: a network of `pytorch.networks`, in training mode; its running statistics must not be tracked.
        images: (n, c, h, w).
        mask: bool (cells, edges, operators).

    Returns:
        (n, n).
    """
    weights = {name: weight.detach() for name, weight in trained_weights(network).items()}
    jacobian = jacrev(lambda weights: functional_call(network, weights, (images, mask)).sum(1))(weights)
    rows = torch.cat([leaf.flatten(1) for leaf in jacobian.values()], dim=1)
    return rows @ rows.T


def condition_number(kernel: Tensor) -> float:
    """Largest over smallest eigenvalue, in the kernel's own precision.

    In float32 a rank-deficient kernel may give a huge or a negative ratio. Nothing here mends that: it is what the released
    search goes by.

    Args:
        kernel: symmetric (n, n).

    Returns:
        The ratio, finite; `WITHOUT_NUMBERS` in place of NaN.
    """
    smallest, *_, largest = torch.linalg.eigvalsh(kernel).unbind()
    ratio = float(largest / smallest)
    if math.isnan(ratio):
        return WITHOUT_NUMBERS
    return math.copysign(min(abs(ratio), sys.float_info.max), ratio)


class _ReluInputs(TorchFunctionMode):
    """Notes which inputs of every ReLU are positive, in the order in which they run."""

    def __init__(self):
        super().__init__()
        self.positive: list[Tensor] = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in (functional.relu, torch.relu):
            self.positive.append((args[0] > 0).flatten(start_dim=1))
        return function(*args, **(kwargs or {}))


def activation_patterns(network: nn.Module, patches: Tensor, mask: Tensor) -> Tensor:
    """Which ReLUs are on; batch norm takes the statistics of all patches.

    Args:
        network: a network of `pytorch.networks`, in training mode.
        patches: (n, c, h, w).
        mask: bool (cells, edges, operators); the ReLUs of pruned operators do not run and are no part of the pattern.

    Returns:
        bool (n, neurons).
    """
    with torch.no_grad(), _ReluInputs() as relus:
        network(patches, mask)
    return torch.cat(relus.positive, dim=1)


def count_patterns(patterns: Tensor) -> int:
    """The number of distinct rows, by comparing all pairs in one matrix product.

    As signs, two rows have the number of neurons for their inner product exactly where they are equal. A row counts if no
    row before it is equal.

    Args:
        patterns: bool (n, neurons), at most 2^24 neurons: sums in float32 are exact up to there.
    """
    signs = torch.where(patterns, 1.0, -1.0)
    equal = signs @ signs.T == signs.shape[1]
    return int((~equal.tril(diagonal=-1).any(dim=1)).sum())


def linear_regions(network: nn.Module, patches: Tensor, mask: Tensor, *, batch: int = 1000) -> int:
    """The number of distinct activation patterns (Hanin and Rolnick 2019).

    Args:
        network: a thin network of `pytorch.networks`, in training mode.
        patches: (n, 1, 3, 3).
        mask: bool (cells, edges, operators).
        batch: patches that share a forward pass, and with it batch norm's statistics.

    Returns:
        The count over all patches.
    """
    return count_patterns(torch.cat([activation_patterns(network, part, mask) for part in patches.split(batch)]))
