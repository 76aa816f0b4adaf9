"""The empirical neural tangent kernel of any JAX function.

The kernel of images a, b is the inner product of the gradients of their outputs with respect to the parameters (Jacot
et al. 2018). `spectrum.py` says what it means.
"""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from tenas_jax.errors import InputError
from tenas_jax.networks.apply_function import ApplyFunction
from tenas_jax.ntk.layerwise import take_apart

# Rows of images, in bytes, that a kernel in blocks holds; of more images they are computed again for every pair of groups.
_HELD_BYTES = 2**30


def _split(variables, trainable):
    """Leaves of `variables` that count as parameters, and a function that puts them back."""
    leaves, structure = jax.tree_util.tree_flatten_with_path(variables)
    paths = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
    counts = [trainable(path) for path in paths]
    for path, (_, leaf), count in zip(paths, leaves, counts, strict=True):
        dtype = getattr(leaf, "dtype", None)
        if count and (dtype is None or not jnp.issubdtype(dtype, jnp.floating)):
            raise InputError(
                f"`variables` must hold floating-point arrays where `trainable` is true; {path!r} is "
                f"{type(leaf).__name__ if dtype is None else dtype}. Leave it out by `trainable`."
            )
    parameters = [leaf for (_, leaf), count in zip(leaves, counts, strict=True) if count]
    if not parameters:
        raise InputError("`trainable` must name at least one parameter; it was false for every path of `variables`.")

    def merge(parameters):
        chosen = iter(parameters)
        merged = [next(chosen) if count else leaf for (_, leaf), count in zip(leaves, counts, strict=True)]
        return jax.tree_util.tree_unflatten(structure, merged)

    return parameters, merge


def is_parameter(path: str) -> bool:
    """Whether a path of variables, such as `params/stem.conv.kernel`, leads to a parameter, no statistic or state."""
    return path.split("/")[0] not in ("batch_stats", "state")


def is_weight(path: str) -> bool:
    """`is_parameter` without biases: what the released TE-NAS differentiates by (convolutions, linear, scales)."""
    return is_parameter(path) and not path.endswith("bias")


def empirical_ntk(
    apply_fn: ApplyFunction,
    variables: Any,
    images: Float[Array, "n ..."],
    others: Float[Array, "m ..."] | None = None,
    *,
    batch_stats: Literal["frozen", "coupled"] = "frozen",
    output: Literal["sum", "trace", "full"] = "sum",
    trainable: Callable[[str], bool] = is_parameter,
    block_size: int | None = None,
) -> Float[Array, "n m *classes"]:
    """The empirical NTK of a function at given parameters.

    `batch_stats="frozen"`: `apply_fn` treats every image on its own (statistics of a batch norm, if any, are held in
    `variables`), and per-example gradients suffice. `batch_stats="coupled"`: one image's logits depend on the others
    through the statistics of the batch, as in the released TE-NAS, and every image costs a backward pass of the batch.

    A weight that is not finite makes a kernel that is not finite, which `condition_number` and `spectrum` flag.

    Args:
        apply_fn: `apply_fn(variables, images)` returns logits (n, classes); `tenas_jax.models` makes one of a Flax or
            Equinox model.
        variables: any tree of arrays.
        images: (n, ...).
        others: (m, ...), a second batch; by default the images themselves. "coupled" normalises each batch on its own.
        batch_stats: see above.
        output: "sum" is the kernel of the sum of an image's logits (TE-NAS); "trace" the mean of the classes' kernels;
            "full" the kernel of every pair of logits, (n, m, classes, classes).
        trainable: which leaves of `variables` are parameters, by their path joined with "/".
        block_size: how many images ("frozen") or backward passes of the batch ("coupled") are computed side by side; all
            by default. Fewer need less memory and more time. With blocks, "frozen" holds up to 1 GiB of what the layers of
            all images get and give back, and beyond that computes it again for every pair of groups of images. Outside
            of `jax.jit` its blocks are one compiled program that is called for each of them, which a CPU runs faster
            than a compiled loop.

    Returns:
        (n, m), with output="full" (n, m, classes, classes), in the dtype of the logits.

    Raises:
        InputError: for integer images, a batch of one image, logits that are not (n, classes), an unknown `batch_stats`
            or `output`, a parameter that is no floating-point array, or a `trainable` that names nothing.

    Examples:
        For a linear function it is the inner product of the images.

        >>> import jax.numpy as jnp
        >>> variables = {"params": {"kernel": jnp.ones((2, 1))}}
        >>> images = jnp.array([[3.0, 4.0], [1.0, 0.0]])
        >>> empirical_ntk(lambda v, x: x @ v["params"]["kernel"], variables, images).tolist()
        [[25.0, 3.0], [3.0, 1.0]]
    """
    _check_choice("batch_stats", batch_stats, ("frozen", "coupled"))
    _check_choice("output", output, ("sum", "trace", "full"))
    if block_size is not None and block_size < 1:
        raise InputError(f"`block_size` must be at least 1, or None for everything at once; it is {block_size}.")
    for name, batch in (("images", images), ("others", others)):
        if batch is not None:
            _check_batch(name, batch, apply_fn, variables)
    if others is not None and (others.shape[1:], others.dtype) != (images.shape[1:], images.dtype):
        raise InputError(
            f"`others` must be images like `images`, {images.dtype} (m, {str(images.shape[1:])[1:]}; "
            f"they are {others.dtype} {others.shape}."
        )
    parameters, merge = _split(variables, trainable)

    def function(parameters, images):
        logits = apply_fn(merge(parameters), images)
        return logits.sum(1, keepdims=True) if output == "sum" else logits

    # An accelerator's short-mantissa products (TF32) would drown the small eigenvalues.
    with jax.default_matmul_precision("highest"):
        kernel: Any = _coupled if batch_stats == "coupled" else _frozen
        return kernel(function, parameters, images, others, block_size, output == "full")


def _check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InputError(f"`{name}` must be {' or '.join(map(repr, allowed))}; it is {value!r}.")


def _check_batch(name, images, apply_fn, variables) -> None:
    if not jnp.issubdtype(images.dtype, jnp.floating) or images.ndim < 1 or images.shape[0] < 2:
        raise InputError(
            f"`{name}` must be at least two floating-point images; they are {images.dtype} {images.shape}. "
            "Normalise a batch with `tenas_jax.data.image_batch`."
        )
    logits = jax.eval_shape(apply_fn, variables, images)
    if not isinstance(logits, jax.ShapeDtypeStruct) or logits.ndim != 2 or len(logits) != len(images):
        raise InputError(
            f"`apply_fn` must return one array, logits (n, classes) with n = {len(images)}; it returns {logits}. "
            "Pool and flatten its output, and drop any state beside it."
        )


def _frozen(function, parameters, images, others, block_size, full):
    """Rows of single images, a block at a time; then their inner products, layer by layer."""
    layerwise = take_apart(function, parameters, images[:1], full)
    # Convolutions within a compiled loop run several times slower on a CPU: where all arrays are known, one program is
    # compiled and called for each block.
    traced = _is_traced((parameters, images, others))
    compiled = (lambda function: function) if traced else jax.jit
    rows_of, contract = compiled(layerwise.rows), compiled(layerwise.contract)
    n, m = len(images), len(images if others is None else others)
    if block_size is None or block_size >= max(n, m):

        def whole(parameters, images, others):
            rows = layerwise.rows(parameters, images)
            return layerwise.contract(rows, None if others is None else layerwise.rows(parameters, others))

        return compiled(whole)(parameters, images, others)

    def rows_in_blocks(images):
        blocks = _blocks(images, block_size)
        if traced:
            rows = jax.lax.map(lambda block: rows_of(parameters, block), blocks)
        else:
            rows = jax.tree.map(lambda *parts: jnp.stack(parts), *[rows_of(parameters, block) for block in blocks])
        return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[: len(images)], rows)

    def of_pair(left, right):
        return contract(rows_in_blocks(left), None if right is None else rows_in_blocks(right))

    held = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(jax.eval_shape(rows_of, parameters, images)))
    size = block_size * max(1, _HELD_BYTES * n // (held * block_size))
    return of_pair(images, others) if size >= max(n, m) else _by_pairs(of_pair, images, others, size, traced, full)


def _by_pairs(kernel_of, images, others, size, traced, full):
    """The kernel of one pair of groups of images after the other, where the rows of all are too many to hold."""
    n, m = len(images), len(images if others is None else others)
    rows = _blocks(images, size)
    columns = rows if others is None else _blocks(others, size)
    first, second = np.indices((len(rows), len(columns))).reshape(2, -1)
    if others is None:
        first, second = np.triu_indices(len(rows))
    if traced:
        above = jax.lax.map(lambda pair: kernel_of(rows[pair[0]], columns[pair[1]]), (first, second))
    else:
        above = jnp.stack([kernel_of(rows[a], columns[b]) for a, b in zip(first, second, strict=True)])
    kernel = jnp.zeros((len(rows), len(columns), *above.shape[1:]), above.dtype)
    if others is None:
        transposed = above.swapaxes(1, 2)
        kernel = kernel.at[second, first].set(transposed.swapaxes(3, 4) if full else transposed)
    kernel = kernel.at[first, second].set(above).swapaxes(1, 2)
    return kernel.reshape(len(rows) * size, len(columns) * size, *above.shape[3:])[:n, :m]


def _blocks(images, size):
    """The last block is filled up with images from the start, so that one compiled program serves all."""
    count = -(-len(images) // size)
    return images[np.arange(count * size) % len(images)].reshape(count, size, *images.shape[1:])


def _is_traced(tree) -> bool:
    """Whether any array is only known to a transformation, such as `jax.jit`."""
    try:
        for leaf in jax.tree.leaves(tree):
            if isinstance(leaf, jax.Array):
                leaf.devices()
    except jax.errors.ConcretizationTypeError:
        return True
    return False


def _coupled(function, parameters, images, others, block_size, full):
    """J J^T with J's rows from one linearisation of the whole batch."""
    left = _jacobian(lambda parameters: function(parameters, images), parameters, block_size)
    right = left
    if others is not None:
        right = _jacobian(lambda parameters: function(parameters, others), parameters, block_size)
    pairs = list(zip(left, right, strict=True))
    if full:
        return sum(jnp.einsum("aip,bjp->abij", a, b) for a, b in pairs)
    return sum(jnp.einsum("akp,bkp->ab", a, b) / a.shape[1] for a, b in pairs)


def _jacobian(function, parameters, block_size):
    """The Jacobian of outputs (n, k), as leaves (n, k, p)."""
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
    return [leaf.reshape(n, classes, -1) for leaf in gradients]
