"""What the eigenvalues of a kernel say: its condition number, its spread, its determinant, and whether to believe them.

The condition number of a neural tangent kernel measures trainability: lower is better (Xiao et al. 2020; TE-NAS, Chen et
al. 2021, section 3.1.1). With eigenvalues l_i >= 0 and p_i = l_i / sum(l), the entropy -sum(p log p) tells how evenly a
kernel spreads over its directions, and its exponential, the effective rank, how many of them count (Roy and Vetterli
2007, definition 1). Everything is computed on the host in float64.
"""

from typing import Any, Literal, NamedTuple, cast

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from tenas_jax.errors import InputError

Health = Literal["full rank", "rank-deficient", "not finite"]
Numbers = Float[np.ndarray, "..."]
# Of the largest entry: what rounding in half precision may do, and no kernel of two different batches is likely to meet.
_SYMMETRIC_UP_TO = 1e-2
# Kernels with larger entries are scaled down by a power of two, which loses nothing, before anything is added up.
_LARGE = 2.0**500


class Spectrum(NamedTuple):
    """Eigenvalues of a kernel, on the host in float64.

    Attributes:
        eigenvalues: (..., n), ascending.
        health: per kernel: "full rank", "rank-deficient" or "not finite".
    """

    eigenvalues: Float[np.ndarray, "... n"]
    health: np.ndarray


class ConditionNumber(NamedTuple):
    """The condition number of a kernel with its health.

    Attributes:
        value: largest over smallest eigenvalue; infinity, the worst, where the kernel is not of full rank.
        health: "full rank", "rank-deficient" or "not finite".
    """

    value: float
    health: Health


def spectrum(kernel: Float[Any, "... n n"]) -> Spectrum:
    """Eigenvalues of one kernel or of a stack.

    A kernel counts as rank-deficient where lambda_min <= n eps lambda_max, eps of the dtype in which the kernel
    arrives: below that an eigenvalue is rounding noise, of either sign.

    Args:
        kernel: floating-point (..., n, n), of half precision too, symmetric up to rounding.

    Raises:
        InputError: for another shape or dtype, and for a kernel that is not symmetric: one of two different batches has no
            eigenvalues that mean anything.

    Examples:
        >>> import numpy as np
        >>> eigenvalues, health = spectrum(np.diag([4.0, 1.0]))
        >>> eigenvalues.tolist(), str(health)
        ([1.0, 4.0], 'full rank')
    """
    eigenvalues, health, scale = _scaled_spectrum(kernel)
    with np.errstate(over="ignore"):
        return Spectrum(eigenvalues * scale[..., None], health)


def _scaled_spectrum(kernel: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Eigenvalues, health, and by how much the eigenvalues are to be multiplied."""
    kernel = np.asarray(kernel)
    square = kernel.ndim >= 2 and kernel.shape[-1] == kernel.shape[-2] > 0
    if not square or not jnp.issubdtype(kernel.dtype, jnp.floating):
        raise InputError(
            f"`kernel` must be floating-point (..., n, n); it is {kernel.dtype} {kernel.shape}. "
            "Pass what `analytic_ntk` or `empirical_ntk` return."
        )
    n, resolution = kernel.shape[-1], kernel.shape[-1] * float(jnp.finfo(kernel.dtype).eps)
    wide = kernel.astype(np.float64)
    finite = np.isfinite(wide).all((-2, -1))
    wide = np.where(finite[..., None, None], wide, np.eye(n))
    largest = np.abs(wide).max((-2, -1))
    scale = np.where(largest > _LARGE, np.exp2(np.frexp(largest)[1] - 1.0), 1.0)
    wide = wide / scale[..., None, None]
    _check_symmetric(wide, largest / scale)
    eigenvalues = np.linalg.eigvalsh((wide + wide.swapaxes(-1, -2)) / 2)
    full = eigenvalues[..., 0] > resolution * eigenvalues[..., -1]
    health = np.where(~finite, "not finite", np.where(full, "full rank", "rank-deficient"))
    return np.where(finite[..., None], eigenvalues, np.nan), health, scale


def _check_symmetric(kernels: np.ndarray, largest: np.ndarray) -> None:
    """Halves of a matrix that differ by more than rounding are two kernels, not one."""
    gaps = np.abs(kernels - kernels.swapaxes(-1, -2)).max((-2, -1))
    if (gaps > _SYMMETRIC_UP_TO * largest).any():
        worst = float(np.max(gaps / np.where(largest == 0, 1.0, largest)))
        raise InputError(
            f"`kernel` must be symmetric; entries (i, j) and (j, i) differ by {worst:.2g} of its largest entry. A kernel "
            "of two different batches has no spectrum: pass that of one batch."
        )


def condition_numbers(kernels: Float[Any, "... n n"]) -> tuple[Float[np.ndarray, "..."], np.ndarray]:
    """`condition_number` of a stack.

    Args:
        kernels: float (..., n, n).

    Returns:
        The condition numbers (...), infinite where a kernel is not of full rank, and the health (...) of each.

    Raises:
        InputError: as `spectrum`.
    """
    eigenvalues, health, _ = _scaled_spectrum(kernels)
    full = health == "full rank"
    smallest = np.where(full, eigenvalues[..., 0], 1.0)
    return np.where(full, np.where(full, eigenvalues[..., -1], 1.0) / smallest, np.inf), health


def condition_number(kernel: Float[Any, "n n"]) -> ConditionNumber:
    """The condition number lambda_max / lambda_min of a kernel (TE-NAS, Chen et al. 2021, section 3.1.1).

    Args:
        kernel: float (n, n).

    Returns:
        Its value, in float64, and its health.

    Raises:
        InputError: as `spectrum`, and for a stack of kernels.

    Examples:
        >>> import numpy as np
        >>> condition_number(np.diag([4.0, 1.0]))
        ConditionNumber(value=4.0, health='full rank')
        >>> condition_number(np.ones((2, 2)))
        ConditionNumber(value=inf, health='rank-deficient')
    """
    if np.ndim(kernel) != 2:
        raise InputError(f"`kernel` must be one matrix (n, n); it has shape {np.shape(kernel)}. Index the stack first.")
    value, health = condition_numbers(kernel)
    return ConditionNumber(float(value), cast(Health, str(health)))


class KernelStatistics(NamedTuple):
    """Statistics of one kernel or of a stack, each (...,), on the host in float64.

    Attributes:
        condition_number: largest over smallest eigenvalue; infinite where the kernel is not of full rank.
        smallest_eigenvalue: of either sign: rounding may take it below zero.
        trace: the sum of the eigenvalues.
        trace_over_smallest: trace over smallest eigenvalue: a condition number to which all large eigenvalues contribute;
            infinite where the kernel is not of full rank.
        entropy: of the normalised eigenvalues, in nats, at most log(n); minus infinity for a kernel of zeros.
        effective_rank: the exponential of the entropy: between 1 and n, and 0 for a kernel of zeros.
        health: "full rank", "rank-deficient" or "not finite"; where not finite, all but the two condition
            numbers are nan.
    """

    condition_number: Numbers
    smallest_eigenvalue: Numbers
    trace: Numbers
    trace_over_smallest: Numbers
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
        InputError: as `spectrum`.

    Examples:
        >>> import numpy as np
        >>> found = statistics(np.eye(4))
        >>> float(found.trace), round(float(found.effective_rank), 6), str(found.health)
        (4.0, 4.0, 'full rank')
    """
    eigenvalues, health, scale = _scaled_spectrum(kernels)
    full = health == "full rank"
    smallest, largest = eigenvalues[..., 0], eigenvalues[..., -1]
    divisor, trace = np.where(full, smallest, 1.0), eigenvalues.sum(-1)
    condition = np.where(full, largest / divisor, np.inf)
    spread = np.where(full, trace / divisor, np.inf)
    # A negative eigenvalue is rounding noise about zero.
    weights = np.maximum(eigenvalues, 0.0)
    total = weights.sum(-1, keepdims=True)
    shares = weights / np.where(total == 0, 1.0, total)
    entropy = -(shares * np.log(np.where(shares == 0, 1.0, shares))).sum(-1)
    entropy = np.where(total[..., 0] == 0, -np.inf, entropy)
    with np.errstate(over="ignore"):
        smallest, trace = smallest * scale, trace * scale
    return KernelStatistics(condition, smallest, trace, spread, entropy, np.exp(entropy), health)


def log_determinants(kernels: Float[Any, "... n n"]) -> tuple[Float[np.ndarray, "..."], np.ndarray]:
    """Log-determinants of Hamming kernels, on the host in float64 (Mellor et al. 2021, equation 4).

    Args:
        kernels: (..., n, n) from `hamming_kernel`.

    Returns:
        The log-determinants (...), minus infinity, the worst, where a kernel is not of full rank, and the health (...) of
        each as `spectrum` names it. Two inputs with the same pattern make a kernel rank-deficient.

    Raises:
        InputError: as `spectrum`.
    """
    # Entries are integers: they are exact, so that float64's resolution decides about the rank.
    eigenvalues, health = spectrum(np.asarray(kernels, np.float64))
    full = health == "full rank"
    logs = np.log(np.where(full[..., None], eigenvalues, 1.0)).sum(-1)
    return np.where(full, logs, -np.inf), health


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
