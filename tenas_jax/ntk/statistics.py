"""What the whole spectrum of a kernel says, beside its condition number.

With eigenvalues l_i >= 0 and p_i = l_i / sum(l), the entropy -sum(p log p) tells how evenly a kernel spreads over its
directions, and its exponential, the effective rank, how many of them count (Roy and Vetterli 2007, definition 1).
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from tenas_jax.errors import InputError
from tenas_jax.ntk.empirical import spectrum

Numbers = Float[np.ndarray, "..."]


class KernelStatistics(NamedTuple):
    """Statistics of one kernel or of a stack, each (...,), on the host in float64.

    Attributes:
        condition_number: largest over smallest eigenvalue; infinite where the kernel is not of full rank.
        smallest_eigenvalue: of either sign: rounding may take it below zero.
        trace: the sum of the eigenvalues.
        entropy: of the normalised eigenvalues, in nats, at most log(n); minus infinity for a kernel of zeros.
        effective_rank: the exponential of the entropy: between 1 and n, and 0 for a kernel of zeros.
        health: "full rank", "rank-deficient" or "not finite"; where not finite, all but the condition number are nan.
    """

    condition_number: Numbers
    smallest_eigenvalue: Numbers
    trace: Numbers
    entropy: Numbers
    effective_rank: Numbers
    health: np.ndarray


def statistics(kernels: Float[Any, "... n n"]) -> KernelStatistics:
    """Statistics of the spectrum of one kernel or of each kernel of a stack.

    Args:
        kernels: float (..., n, n), symmetric up to rounding.

    Returns:
        The statistics, each (...,).

    Raises:
        InputError: as `ntk.spectrum`.

    Examples:
        >>> import numpy as np
        >>> found = statistics(np.eye(4))
        >>> float(found.trace), round(float(found.effective_rank), 6), str(found.health)
        (4.0, 4.0, 'full rank')
    """
    eigenvalues, health = spectrum(kernels)
    full = health == "full rank"
    smallest, largest = eigenvalues[..., 0], eigenvalues[..., -1]
    condition = np.where(full, largest / np.where(full, smallest, 1.0), np.inf)
    # A negative eigenvalue is rounding noise about zero.
    weights = np.maximum(eigenvalues, 0.0)
    total = weights.sum(-1, keepdims=True)
    shares = weights / np.where(total == 0, 1.0, total)
    entropy = -(shares * np.log(np.where(shares == 0, 1.0, shares))).sum(-1)
    entropy = np.where(total[..., 0] == 0, -np.inf, entropy)
    return KernelStatistics(condition, smallest, eigenvalues.sum(-1), entropy, np.exp(entropy), health)


def batch_kernels(kernels: Float[Any, "... n n"], batches: Int[Any, "b m"]) -> Float[np.ndarray, "... b m m"]:
    """The kernels of many batches out of one kernel, of which they are principal submatrices.

    That holds where the kernel of two images depends on no third: for the analytic NTK without batch norm, to the bit.

    Args:
        kernels: (..., n, n).
        batches: (b, m), the numbers of the images of every batch, each below n.

    Returns:
        (..., b, m, m).

    Raises:
        InputError: for batches of another kind, or images that the kernel does not have.

    Examples:
        >>> import numpy as np
        >>> batch_kernels(np.diag([1.0, 2.0, 3.0]), np.array([[0, 2], [1, 2]]))[1].tolist()
        [[2.0, 0.0], [0.0, 3.0]]
    """
    kernels, batches = np.asarray(kernels), np.asarray(batches)
    if batches.ndim != 2 or not np.issubdtype(batches.dtype, np.integer):
        raise InputError(f"`batches` must be whole numbers (b, m); they are {batches.dtype} {batches.shape}.")
    if batches.size and not 0 <= batches.min() <= batches.max() < kernels.shape[-1]:
        raise InputError(
            f"`batches` names images from {batches.min()} to {batches.max()}; the kernel has those from 0 to "
            f"{kernels.shape[-1] - 1}."
        )
    return kernels[..., batches[:, :, None], batches[:, None, :]]
