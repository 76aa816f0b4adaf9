"""TE-NAS's two indicators in PyTorch, as the released code computes them: NTK condition number and linear regions."""

# PyTorch is an extra that the type checker may have to do without.
# pyright: reportMissingImports=false

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev


def ntk(network: nn.Module, images: Tensor, mask: Tensor) -> Tensor:
    """The empirical NTK of each image's summed logits, batch norm in training mode (Chen et al. 2021, section 3.1.1).

    One backward pass of the whole batch an image, because batch norm couples an image's logits to the other images.

    Args:
        network: a network of `pytorch.networks`, in training mode.
        images: (n, c, h, w).
        mask: bool (cells, edges, operators).

    Returns:
        (n, n): `J J^T`, J the gradients with respect to every parameter whose name holds `weight`.
    """
    network.zero_grad()
    logits = network(images, mask)
    rows = []
    for row in logits:
        row.backward(torch.ones_like(row), retain_graph=True)
        gradients = [
            w.grad.reshape(-1) for name, w in network.named_parameters() if _counts(name) and w.grad is not None
        ]
        rows.append(torch.cat(gradients))
        network.zero_grad()
    jacobian = torch.stack(rows)
    return jacobian @ jacobian.T


def ntk_functional(network: nn.Module, images: Tensor, mask: Tensor) -> Tensor:
    """The same kernel by `torch.func.jacrev`: all backward passes vectorised. Not what the released code does.

    Args:
        network: a network of `pytorch.networks`, in training mode; its running statistics must not be tracked.
        images: (n, c, h, w).
        mask: bool (cells, edges, operators).

    Returns:
        (n, n).
    """
    weights = {name: w.detach() for name, w in network.named_parameters() if _counts(name)}
    jacobian = jacrev(lambda weights: functional_call(network, weights, (images, mask)).sum(1))(weights)
    rows = torch.cat([leaf.flatten(1) for leaf in jacobian.values()], dim=1)
    return rows @ rows.T


def _counts(name: str) -> bool:
    """Convolutions, the linear layer and batch norm's scales; no shifts and no bias."""
    return "weight" in name


def condition_number(kernel: Tensor) -> float:
    """Largest over smallest eigenvalue, in the kernel's own precision; NaN counts as 100,000, as in the released code.

    Args:
        kernel: symmetric (n, n).

    Returns:
        The ratio. In float32 a rank-deficient kernel may give a huge or a negative one: nothing here mends that.
    """
    eigenvalues = torch.linalg.eigvalsh(kernel)
    return float(np.nan_to_num((eigenvalues[-1] / eigenvalues[0]).item(), nan=100000.0))


def activation_patterns(network: nn.Module, patches: Tensor, mask: Tensor) -> Tensor:
    """The on/off pattern of every ReLU that runs, by forward hooks; batch norm takes the statistics of all patches.

    Args:
        network: a network of `pytorch.networks`, in training mode.
        patches: (n, c, h, w).
        mask: bool (cells, edges, operators); the ReLUs of pruned operators are no part of the pattern.

    Returns:
        (n, neurons), 1 where a ReLU's output is positive and 0 elsewhere, in the patches' precision.
    """
    signs: list[Tensor] = []
    hooks = [
        module.register_forward_hook(lambda _module, _inputs, output: signs.append(output.flatten(1).sign()))
        for module in network.modules()
        if isinstance(module, nn.ReLU)
    ]
    try:
        with torch.no_grad():
            network(patches, mask)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.cat(signs, dim=1)


def count_patterns(patterns: Tensor) -> int:
    """The number of distinct rows, by comparing all pairs: each row adds one over the number of rows equal to it.

    Args:
        patterns: (n, neurons) of zeros and ones; sums of them must be exact, which float32 is up to 2^24.
    """
    differ = patterns @ (1 - patterns).T
    equal = 1 - (differ + differ.T).sign()
    return int((1 / equal.sum(1).double()).sum().round())


def linear_regions(network: nn.Module, patches: Tensor, mask: Tensor, *, batch: int = 1000) -> int:
    """The number of distinct activation patterns (Chen et al. 2021, section 3.1.2; Hanin and Rolnick 2019).

    Args:
        network: a thin network of `pytorch.networks`, in training mode.
        patches: (n, 1, 3, 3).
        mask: bool (cells, edges, operators).
        batch: patches that share a forward pass, and with it batch norm's statistics.

    Returns:
        The count over all patches.
    """
    return count_patterns(torch.cat([activation_patterns(network, part, mask) for part in patches.split(batch)]))
