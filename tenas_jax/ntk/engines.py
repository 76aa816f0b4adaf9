"""Ways from a traced function to its kernel: our contraction layer by layer, and those of neural-tangents.

The kernel is the contracted Jacobian J J^T. "layerwise" never forms J of all layers at once (`layerwise.py`);
"neural_tangents" is the Jacobian contraction of neural-tangents, "neural_tangents_ntvp" its NTK-vector products
(Novak et al. 2022, "Fast finite width neural tangent kernel", sections 3.1 and 3.2).
"""

import importlib
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun
from jaxtyping import Array

from tenas_jax.errors import InputError
from tenas_jax.ntk.layerwise import accumulator, mark_of, marked, take_apart, total

Engine = Literal["auto", "layerwise", "neural_tangents", "neural_tangents_ntvp"]
# Rows of images, in bytes, that a kernel in blocks holds; of more images they are computed again for every pair of groups.
_HELD_BYTES = 2**30
_IMPLEMENTATIONS = {"neural_tangents": 1, "neural_tangents_ntvp": 2}


class Traced(NamedTuple):
    """A function as it was traced: nothing of it leads back to the Python function.

    Attributes:
        programs: by number of images: of parameters, other arrays and images; they return outputs (n, k).
        parameters: the number of parameters.
        full: the kernel of every pair of outputs, instead of the mean of the outputs' kernels.
        compiled: `jax.jit`; None inside a caller's `jax.jit`, where everything is a part of that program.
    """

    programs: dict[int, ClosedJaxpr]
    parameters: int
    full: bool
    compiled: Callable[[Callable], Callable] | None

    def __call__(self, parameters, state, images) -> Array:
        """The outputs (n, k)."""
        return jaxpr_as_fun(self.programs[len(images)])(*parameters, *state, images)[0]

    @property
    def held_bytes(self) -> int:
        """Bytes of the arrays that the function closed over."""
        return sum(getattr(value, "nbytes", 0) for program in self.programs.values() for value in program.consts)

    def compile(self, function: Callable) -> Callable:
        """A compiled program, where all arrays are known."""
        return function if self.compiled is None else self.compiled(function)


Kernel = Callable[[Any, Any, Array, Any], Array]


def choose(engine: Engine, traced: Traced) -> str:
    """What "auto" stands for.

    Args:
        engine: as asked.
        traced: the function.
    """
    del traced
    return "layerwise" if engine == "auto" else engine


def frozen(traced: Traced, block_size: int | None) -> Kernel:
    """Rows of single images, a block at a time; then their inner products, layer by layer.

    Args:
        traced: the function on one image.
        block_size: images side by side; all where None.

    Returns:
        `kernel(parameters, state, images, others)`.
    """
    layerwise = take_apart(traced.programs[1], traced.parameters, traced.full)
    # Convolutions within a compiled loop run several times slower on a CPU: where all arrays are known, one program is
    # compiled and called for each block.
    rows_of, contract = traced.compile(layerwise.rows), traced.compile(layerwise.contract)

    @traced.compile
    def whole(parameters, state, images, others):
        rows = layerwise.rows(parameters, state, images)
        return layerwise.contract(rows, None if others is None else layerwise.rows(parameters, state, others))

    def rows_in_blocks(parameters, state, images):
        blocks = _blocks(images, block_size)
        if traced.compiled is None:
            rows = jax.lax.map(lambda block: rows_of(parameters, state, block), blocks)
        else:
            parts = [rows_of(parameters, state, block) for block in blocks]
            rows = jax.tree.map(lambda *parts: jnp.stack(parts), *parts)
        return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[: len(images)], rows)

    def kernel(parameters, state, images, others):
        n, m = len(images), len(images if others is None else others)
        if block_size is None or block_size >= max(n, m):
            return whole(parameters, state, images, others)

        def of_pair(left, right):
            rows = rows_in_blocks(parameters, state, left)
            return contract(rows, None if right is None else rows_in_blocks(parameters, state, right))

        leaves = jax.tree.leaves(jax.eval_shape(rows_of, parameters, state, images))
        held = sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
        size = block_size * max(1, _HELD_BYTES * n // (held * block_size))
        return of_pair(images, others) if size >= max(n, m) else _by_pairs(of_pair, images, others, size, traced)

    return kernel


def _by_pairs(kernel_of, images, others, size: int, traced: Traced):
    """The kernel of one pair of groups of images after the other, where the rows of all are too many to hold."""
    n, m = len(images), len(images if others is None else others)
    rows = _blocks(images, size)
    columns = rows if others is None else _blocks(others, size)
    first, second = np.indices((len(rows), len(columns))).reshape(2, -1)
    if others is None:
        first, second = np.triu_indices(len(rows))
    if traced.compiled is None:
        above = jax.lax.map(lambda pair: kernel_of(rows[pair[0]], columns[pair[1]]), (first, second))
    else:
        above = jnp.stack([kernel_of(rows[a], columns[b]) for a, b in zip(first, second, strict=True)])
    kernel = jnp.zeros((len(rows), len(columns), *above.shape[1:]), above.dtype)
    if others is None:
        transposed = above.swapaxes(1, 2)
        kernel = kernel.at[second, first].set(transposed.swapaxes(3, 4) if traced.full else transposed)
    kernel = kernel.at[first, second].set(above).swapaxes(1, 2)
    return kernel.reshape(len(rows) * size, len(columns) * size, *above.shape[3:])[:n, :m]


def _blocks(images, size):
    """The last block is filled up with images from the start, so that one compiled program serves all."""
    count = -(-len(images) // size)
    return images[np.arange(count * size) % len(images)].reshape(count, size, *images.shape[1:])


def coupled(traced: Traced, block_size: int | None) -> Kernel:
    """J J^T with J's rows from one linearisation of the whole batch.

    Args:
        traced: the function on whole batches.
        block_size: backward passes side by side; all where None.

    Returns:
        `kernel(parameters, state, images, others)`.
    """

    def kernel(parameters, state, images, others):
        left = right = _jacobian(lambda parameters: traced(parameters, state, images), parameters, block_size)
        if others is not None:
            right = _jacobian(lambda parameters: traced(parameters, state, others), parameters, block_size)
        parts = []
        for a, b in zip(left[0], right[0], strict=True):
            product = partial(jnp.einsum, preferred_element_type=accumulator(a.dtype))
            parts.append(product("aip,bjp->abij", a, b) if traced.full else product("akp,bkp->ab", a, b) / a.shape[1])
        return marked(total(parts), left[1], right[1])

    return traced.compile(kernel)


def _jacobian(function, parameters, block_size):
    """The Jacobian of outputs (n, k), as leaves (n, k, p), and a mark of every image."""
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
    return [leaf.reshape(n, classes, -1) for leaf in gradients], jax.vmap(mark_of)(outputs)


def neural_tangents(traced: Traced, engine: str, batch_stats: str, block_size: int | None) -> Kernel:
    """The kernel of neural-tangents.

    Args:
        traced: the function on one image, or with "coupled" statistics on the whole batch.
        engine: which of its contractions.
        batch_stats: "frozen" or "coupled".
        block_size: images side by side, for "frozen"; all where None.

    Returns:
        `kernel(parameters, state, images, others)`.

    Raises:
        InputError: where neural-tangents is missing, and for half precision or blocks of a coupled batch, which it cannot
            do.
    """
    library = _library_for(traced, engine, batch_stats, block_size)

    def contracted(parameters, state, images, others):
        def outputs(parameters, batch):
            if len(batch) in traced.programs:
                return traced(parameters, state, batch)
            # The shapes of all images' outputs are asked for first.
            return jax.vmap(lambda image: traced(parameters, state, image[None])[0])(batch)

        by_image = 0 if batch_stats == "frozen" else None
        axes: Any = () if traced.full else (-1,)
        function: Any = library.empirical_ntk_fn(
            outputs, trace_axes=axes, vmap_axes=by_image, implementation=_IMPLEMENTATIONS[engine]
        )

        def marks(batch):
            return jax.vmap(mark_of)(outputs(parameters, batch))

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            kernel = function(images, others, parameters)
        rows = marks(images)
        return marked(kernel, rows, rows if others is None else marks(others))

    whole = traced.compile(contracted)

    def kernel(parameters, state, images, others):
        n, m = len(images), len(images if others is None else others)
        try:
            if block_size is None or block_size >= max(n, m):
                return whole(parameters, state, images, others)
            of_pair = partial(whole, parameters, state)
            return _by_pairs(of_pair, images, others, block_size, traced)
        except (TypeError, ValueError, NotImplementedError, AttributeError) as error:
            said = (str(error).strip().splitlines() or [""])[0]
            raise _refusal(engine, f"it fails with {type(error).__name__}: {said}") from error

    return kernel


def _library_for(traced: Traced, engine: str, batch_stats: str, block_size: int | None) -> Any:
    """neural-tangents, where it is there and can do what is asked."""
    program = next(iter(traced.programs.values()))
    dtypes = {aval.dtype for aval in (*program.in_avals[: traced.parameters], *program.out_avals)}
    if any(jnp.finfo(dtype).bits < 32 for dtype in dtypes):
        raise _refusal(engine, "it would add up in half precision")
    if batch_stats == "coupled" and block_size is not None:
        raise _refusal(engine, "it computes a coupled batch without blocks")
    try:
        return neural_tangents_library()
    except (ImportError, AttributeError) as error:
        raise _refusal(engine, f"neural-tangents cannot be imported ({error})") from error


def neural_tangents_library() -> Any:
    """The module `neural_tangents`, imported at the first call."""
    return importlib.import_module("tenas_jax.ntk.neural_tangents").load()


def _refusal(engine: str, reason: str) -> InputError:
    return InputError(f"`engine={engine!r}` cannot take this function: {reason}. Take `engine='layerwise'`.")
