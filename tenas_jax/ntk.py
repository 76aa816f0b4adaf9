"""The empirical neural tangent kernel of any JAX function, and what its spectrum says.

The kernel of images a, b is the inner product of the gradients of their outputs with respect to the parameters (Jacot
et al. 2018). Its condition number measures trainability: lower is better (Xiao et al. 2020; TE-NAS, Chen et al. 2021,
section 3.1.1).
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from tenas_jax import _neural_tangents
from tenas_jax.errors import InputError

Health = Literal["full rank", "rank-deficient", "not finite"]
ApplyFunction = Callable[[Any, Array], Array]


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
        kernel: float (..., n, n), symmetric up to rounding.

    Raises:
        InputError: for another shape or a dtype that NumPy does not count as floating-point.
    """
    kernel = np.asarray(kernel)
    square = kernel.ndim >= 2 and kernel.shape[-1] == kernel.shape[-2] > 0
    if not square or not np.issubdtype(kernel.dtype, np.floating):
        raise InputError(
            f"`kernel` must be floating-point (..., n, n); it is {kernel.dtype} {kernel.shape}. "
            "Pass what `analytic_ntk` or `empirical_ntk` return."
        )
    n, resolution = kernel.shape[-1], kernel.shape[-1] * np.finfo(kernel.dtype).eps
    wide = kernel.astype(np.float64)
    finite = np.isfinite(wide).all((-2, -1))
    symmetric = np.where(finite[..., None, None], (wide + wide.swapaxes(-1, -2)) / 2, np.eye(n))
    eigenvalues = np.linalg.eigvalsh(symmetric)
    full = eigenvalues[..., 0] > resolution * eigenvalues[..., -1]
    health = np.where(~finite, "not finite", np.where(full, "full rank", "rank-deficient"))
    return Spectrum(np.where(finite[..., None], eigenvalues, np.nan), health)


def condition_numbers(kernels: Float[Any, "... n n"]) -> tuple[Float[np.ndarray, "..."], np.ndarray]:
    """`condition_number` of a stack.

    Args:
        kernels: float (..., n, n).

    Returns:
        The condition numbers (...), infinite where a kernel is not of full rank, and the health (...) of each.

    Raises:
        InputError: as `spectrum`.
    """
    eigenvalues, health = spectrum(kernels)
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
    """
    if np.ndim(kernel) != 2:
        raise InputError(f"`kernel` must be one matrix (n, n); it has shape {np.shape(kernel)}. Index the stack first.")
    value, health = condition_numbers(kernel)
    return ConditionNumber(float(value), cast(Health, str(health)))


def _split(variables, trainable):
    """Leaves of `variables` that count as parameters, and a function that puts them back."""
    leaves, structure = jax.tree_util.tree_flatten_with_path(variables)
    counts = [trainable(jax.tree_util.keystr(path, simple=True, separator="/")) for path, _ in leaves]
    parameters = [leaf for (_, leaf), count in zip(leaves, counts, strict=True) if count]
    if not parameters:
        raise InputError("`trainable` must name at least one parameter; it was false for every path of `variables`.")

    def merge(parameters):
        chosen = iter(parameters)
        merged = [next(chosen) if count else leaf for (_, leaf), count in zip(leaves, counts, strict=True)]
        return jax.tree_util.tree_unflatten(structure, merged)

    return parameters, merge


def is_parameter(path: str) -> bool:
    """Whether a path of Flax variables, such as `params/stem.conv.kernel`, leads to a parameter, no statistic."""
    return path.split("/")[0] != "batch_stats"


def is_weight(path: str) -> bool:
    """`is_parameter` without biases: what the released TE-NAS differentiates by (convolutions, linear, scales)."""
    return is_parameter(path) and not path.endswith("bias")


def empirical_ntk(
    apply_fn: ApplyFunction,
    variables: Any,
    images: Float[Array, "n ..."],
    *,
    batch_stats: Literal["frozen", "coupled"] = "frozen",
    output: Literal["sum", "trace"] = "sum",
    trainable: Callable[[str], bool] = is_parameter,
    block_size: int | None = None,
) -> Float[Array, "n n"]:
    """The empirical NTK of a function at given parameters.

    `batch_stats="frozen"`: `apply_fn` treats every image on its own (statistics of a batch norm, if any, are held in
    `variables`), and per-example gradients suffice. `batch_stats="coupled"`: one image's logits depend on the others
    through the statistics of the batch, as in the released TE-NAS, and every image costs a backward pass of the batch.

    Args:
        apply_fn: `apply_fn(variables, images)` returns logits (n, classes).
        variables: any tree of arrays.
        images: (n, ...).
        batch_stats: see above.
        output: "sum" is the kernel of the sum of an image's logits (TE-NAS); "trace" the mean of the classes' kernels.
        trainable: which leaves of `variables` are parameters, by their path joined with "/".
        block_size: how many images' gradients ("frozen") or backward passes of the batch ("coupled") are computed side
            by side; all by default. Fewer need less memory and more time.

    Returns:
        (n, n), in the dtype of the logits.

    Raises:
        InputError: for integer images, a batch of one image, logits that are not (n, classes), an unknown `batch_stats`
            or `output`, or a `trainable` that names nothing.
    """
    _check_choice("batch_stats", batch_stats, ("frozen", "coupled"))
    _check_choice("output", output, ("sum", "trace"))
    if block_size is not None and block_size < 1:
        raise InputError(f"`block_size` must be at least 1, or None for everything at once; it is {block_size}.")
    if not jnp.issubdtype(images.dtype, jnp.floating) or images.shape[0] < 2:
        raise InputError(
            f"`images` must be at least two floating-point images; they are {images.dtype} {images.shape}. "
            "Normalise a batch with `tenas_jax.data.image_batch`."
        )
    logits = jax.eval_shape(apply_fn, variables, images)
    if not isinstance(logits, jax.ShapeDtypeStruct) or logits.ndim != 2 or len(logits) != len(images):
        raise InputError(
            f"`apply_fn` must return one array, logits (n, classes) with n = {len(images)}; it returns {logits}. "
            "Pool and flatten its output, and drop any state beside it."
        )
    parameters, merge = _split(variables, trainable)

    def function(parameters, images):
        logits = apply_fn(merge(parameters), images)
        return logits.sum(1, keepdims=True) if output == "sum" else logits

    # An accelerator's short-mantissa products (TF32) would drown the small eigenvalues.
    with jax.default_matmul_precision("highest"):
        if batch_stats == "coupled":
            return _coupled(lambda parameters: function(parameters, images), parameters, block_size)
        return _frozen(function, parameters, images, block_size or images.shape[0])


def _check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InputError(f"`{name}` must be {' or '.join(map(repr, allowed))}; it is {value!r}.")


def _frozen(function, parameters, images, block_size):
    """Per-example gradients, contracted one pair of blocks of images at a time."""
    tangents = _neural_tangents.load()
    kernel_of = tangents.empirical_ntk_fn(
        function, trace_axes=(-1,), vmap_axes=0, implementation=tangents.NtkImplementation.JACOBIAN_CONTRACTION
    )
    n = len(images)
    if block_size >= n:
        return kernel_of(images, None, parameters)
    # The last block is filled up with images from the start, so that one compiled program serves all pairs.
    count = -(-n // block_size)
    blocks = images[np.arange(count * block_size) % n].reshape(count, block_size, *images.shape[1:])
    first, second = np.triu_indices(count)
    above = jax.lax.map(lambda pair: kernel_of(blocks[pair[0]], blocks[pair[1]], parameters), (first, second))
    kernel = jnp.zeros((count, count, block_size, block_size), above.dtype)
    kernel = kernel.at[second, first].set(above.swapaxes(1, 2)).at[first, second].set(above)
    return kernel.swapaxes(1, 2).reshape(count * block_size, count * block_size)[:n, :n]


def _coupled(function, parameters, block_size):
    """J J^T with J's rows from one linearisation of the whole batch; outputs are (n, k), traced over k."""
    outputs, pull_back = jax.vjp(function, parameters)
    n, classes = outputs.shape
    size = n * classes
    gradients_of = jax.vmap(lambda cotangent: pull_back(cotangent.reshape(n, classes))[0])
    if block_size is None or block_size >= size:
        gradients = gradients_of(jnp.eye(size, dtype=outputs.dtype))
    else:
        # Zero rows fill up the last block, so that one compiled program serves all blocks.
        count = -(-size // block_size)
        cotangents = jnp.eye(count * block_size, size, dtype=outputs.dtype).reshape(count, block_size, size)
        gradients = [leaf.reshape(count * block_size, -1)[:size] for leaf in jax.lax.map(gradients_of, cotangents)]
    kernel = jnp.zeros((n, n), outputs.dtype)
    for leaf in gradients:
        jacobian = leaf.reshape(n, classes, -1)
        kernel += jnp.einsum("akp,bkp->ab", jacobian, jacobian) / classes
    return kernel
