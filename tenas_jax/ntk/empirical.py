"""The empirical neural tangent kernel of any JAX function.

The kernel of images a, b is the inner product of the gradients of their outputs with respect to the parameters (Jacot
et al. 2018). `spectrum.py` says what it means.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from tenas_jax.errors import InputError
from tenas_jax.function_identity import is_concrete
from tenas_jax.networks.apply_function import ApplyFunction, BatchStats, as_batch, batch_stats_of
from tenas_jax.networks.inputs import is_readable, is_tree, looked_up, numbered
from tenas_jax.ntk.engines import Engine, Traced, choose, coupled, frozen, neural_tangents
from tenas_jax.program_cache import PROGRAMS, Kept, signature


class _Split(NamedTuple):
    """Leaves of variables: by which is differentiated, other arrays, and what is no array; and how to put them back."""

    parameters: list[Array]
    state: list[Array]
    kinds: tuple[Any, ...]
    structure: Any

    def merge(self, parameters, state):
        """The variables with other arrays in them."""
        sources = {"parameter": iter(parameters), "state": iter(state)}
        leaves = [next(sources[kind]) if kind in sources else value for kind, value in self.kinds]
        return jax.tree_util.tree_unflatten(self.structure, leaves)


def _split(variables, trainable) -> _Split:
    leaves, structure = jax.tree_util.tree_flatten_with_path(variables)
    parameters, state, kinds = [], [], []
    for path, leaf in leaves:
        path = jax.tree_util.keystr(path, simple=True, separator="/")
        dtype = getattr(leaf, "dtype", None)
        if trainable(path):
            if dtype is None or not jnp.issubdtype(dtype, jnp.floating):
                raise InputError(
                    f"`variables` must hold floating-point arrays where `trainable` is true; {path!r} is "
                    f"{type(leaf).__name__ if dtype is None else dtype}. Leave it out by `trainable`."
                )
            parameters.append(leaf)
            kinds.append(("parameter", None))
        elif isinstance(leaf, jax.Array | np.ndarray):
            state.append(leaf)
            kinds.append(("state", None))
        else:
            kinds.append((type(leaf), leaf))
    if not parameters:
        raise InputError("`trainable` must name at least one parameter; it was false for every path of `variables`.")
    return _Split(parameters, state, tuple(kinds), structure)


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
    batch_stats: BatchStats | None = None,
    output: Literal["sum", "trace", "full"] = "sum",
    trainable: Callable[[str], bool] = is_parameter,
    block_size: int | None = None,
    engine: Engine = "auto",
) -> Float[Array, "n m *classes"]:
    """The empirical NTK of a function at given parameters.

    `batch_stats="frozen"`: `apply_fn` treats every image on its own (statistics of a batch norm, if any, are held in
    `variables`), and per-example gradients suffice. `batch_stats="coupled"`: one image's logits depend on the others
    through the statistics of the batch, as in the released TE-NAS, and every image costs a backward pass of the batch.

    A weight, an image or a logit that is not finite makes a kernel that is not finite, which `condition_number` and
    `spectrum` flag. Networks in half precision keep their arithmetic; inner products of gradients are summed in float32.

    A plain call compiles a program and keeps it: a second call with the same function, and images and variables of the
    same shapes, only runs it. `program_cache.py` says what is kept, and `function_identity.py` when functions are the
    same. Within your `jax.jit`, `jax.grad` or `jax.vmap` the kernel is a part of that program.

    Args:
        apply_fn: `apply_fn(variables, images)` returns logits (n, classes); `tenas_jax.models` makes one of a Flax or
            Equinox model.
        variables: any tree of arrays.
        images: (n, ...), floating-point or whole numbers such as tokens; or a tree of such arrays, which `apply_fn` gets.
        others: (m, ...), a second batch; by default the images themselves. "coupled" normalises each batch on its own.
        batch_stats: see above; by default what a model of `tenas_jax.models` was made for, and "frozen" of other
            functions.
        output: "sum" is the kernel of the sum of an image's logits (TE-NAS); "trace" the mean of the classes' kernels;
            "full" the kernel of every pair of logits, (n, m, classes, classes).
        trainable: which leaves of `variables` are parameters, by their path joined with "/".
        block_size: how many images ("frozen") or backward passes of the batch ("coupled") are computed side by side; all
            by default. Fewer need less memory and more time. With blocks, "frozen" holds up to 1 GiB of what the layers of
            all images get and give back, and beyond that computes it again for every pair of groups of images. Outside
            of `jax.jit` its blocks are one compiled program that is called for each of them, which a CPU runs faster
            than a compiled loop.
        engine: "layerwise" contracts layer by layer; "neural_tangents" and "neural_tangents_ntvp" are the Jacobian
            contraction and the NTK-vector products of neural-tangents; "auto" takes the one that is faster where they
            were measured.

    Returns:
        (n, m), with output="full" (n, m, classes, classes), in the dtype of parameters and logits, float32 at least.

    Raises:
        InputError: for bytes as images, a batch of one image, logits that are not (n, classes), an unknown `batch_stats`,
            `output` or `engine`, a model made for other batch statistics, a parameter that is no floating-point array, a
            `trainable` that names nothing, or a function that an engine cannot take.

    Examples:
        For a linear function it is the inner product of the images.

        >>> import jax.numpy as jnp
        >>> variables = {"params": {"kernel": jnp.ones((2, 1))}}
        >>> images = jnp.array([[3.0, 4.0], [1.0, 0.0]])
        >>> empirical_ntk(lambda v, x: x @ v["params"]["kernel"], variables, images).tolist()
        [[25.0, 3.0], [3.0, 1.0]]
    """
    mode = batch_stats_of(apply_fn, batch_stats)
    _check_choice("output", output, ("sum", "trace", "full"))
    _check_choice("engine", engine, get_args(Engine))
    if block_size is not None and block_size < 1:
        raise InputError(f"`block_size` must be at least 1, or None for everything at once; it is {block_size}.")
    if is_tree(images):
        inputs, images = numbered("images", images)
        if others is not None:
            others, places = numbered("others", others)
            inputs = jax.tree.map(lambda *parts: jnp.concatenate(parts), inputs, others)
            others = len(images) + places
        return empirical_ntk(
            looked_up(apply_fn), (variables, inputs), images, others, batch_stats=mode, output=output,
            trainable=_of_first(trainable), block_size=block_size, engine=engine,
        )  # fmt: skip
    images = _batch("images", images)
    others = None if others is None else _batch("others", others)
    if others is not None and (others.shape[1:], others.dtype) != (images.shape[1:], images.dtype):
        raise InputError(
            f"`others` must be images like `images`, {images.dtype} (m, {str(images.shape[1:])[1:]}; "
            f"they are {others.dtype} {others.shape}."
        )
    split = _split(variables, trainable)
    arrays = split.parameters, split.state, images, others
    options = mode, output, block_size, engine

    # An accelerator's short-mantissa products (TF32) would drown the small eigenvalues.
    with jax.default_matmul_precision("highest"):
        if not all(map(is_concrete, jax.tree.leaves(arrays))):
            return _build(apply_fn, split, images, others, options, None).program(*arrays)
        key = "empirical_ntk", split.kinds, split.structure, signature(arrays), options
        program = PROGRAMS.find([apply_fn], key, lambda: _build(apply_fn, split, images, others, options, jax.jit))
        return program(*arrays)


def _build(apply_fn, split: _Split, images, others, options, compiled) -> Kept:
    """Traces the function and hands it to an engine."""
    mode, output, block_size, engine = options

    def function(parameters, state, images):
        logits = apply_fn(split.merge(parameters, state), images)
        return logits.sum(1, keepdims=True) if output == "sum" else logits

    variables = split.merge(split.parameters, split.state)
    batches = {len(batch): batch for batch in (images, others) if batch is not None}
    for batch in batches.values():
        _check_logits(apply_fn, variables, batch)
    seen = {1: images[:1]} if mode == "frozen" else batches
    programs = {n: jax.make_jaxpr(function)(split.parameters, split.state, batch) for n, batch in seen.items()}
    traced = Traced(programs, len(split.parameters), output == "full", compiled)
    engine = choose(engine, traced)
    if engine != "layerwise":
        kernel = neural_tangents(traced, engine, mode, block_size)
    else:
        kernel = (frozen if mode == "frozen" else coupled)(traced, block_size)
    return Kept(kernel, traced.held_bytes)


def _of_first(trainable: Callable[[str], bool]) -> Callable[[str], bool]:
    """Of variables beside inputs: inputs are no parameters."""

    def of_both(path: str) -> bool:
        place, _, rest = path.partition("/")
        return place == "0" and trainable(rest)

    return of_both


def _check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InputError(f"`{name}` must be {' or '.join(map(repr, allowed))}; it is {value!r}.")


def _batch(name: str, images: Any) -> Array:
    images = as_batch(name, images)
    if not is_readable(images) or images.ndim < 1 or images.shape[0] < 2:
        raise InputError(
            f"`{name}` must be at least two floating-point images, or whole numbers such as tokens; "
            f"they are {images.dtype} {images.shape}. "
            "Normalise a batch with `tenas_jax.data.image_batch`."
        )
    return images


def _check_logits(apply_fn, variables, images) -> None:
    logits = jax.eval_shape(apply_fn, variables, images)
    single = isinstance(logits, jax.ShapeDtypeStruct) and logits.ndim == 2 and len(logits) == len(images)
    if not single or not jnp.issubdtype(logits.dtype, jnp.floating):
        raise InputError(
            f"`apply_fn` must return one array, logits (n, classes) with n = {len(images)}; it returns {logits}. "
            "Pool and flatten its output, and drop any state beside it."
        )
