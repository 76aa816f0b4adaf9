"""Activation patterns of any JAX function: which side of its breakpoints every neuron is on.

The ReLUs of a function are found in its jaxpr, not asked for: where a value that depends on the images passes a point at
which the function changes its slope, the side is a bit (`piecewise_linear.py` says what counts). A network that is made of
linear maps and such breakpoints is linear wherever no bit changes (Hanin and Rolnick 2019; TE-NAS, Chen et al. 2021,
section 3.1.2).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, UInt8

from tenas_jax.errors import InputError
from tenas_jax.function_identity import is_concrete
from tenas_jax.networks.apply_function import BatchStats, as_batch, batch_stats_of
from tenas_jax.networks.inputs import is_readable, is_tree, looked_up, numbered
from tenas_jax.patterns.piecewise_linear import Observer, observer
from tenas_jax.program_cache import PROGRAMS, Kept, signature


class Layer(NamedTuple):
    """Where a range of bits comes from.

    Attributes:
        name: scopes and functions around the breakpoint, joined by "/", such as `ResNet/Block_0/relu`.
        operation: the primitive, such as `max`.
        start: the first bit.
        stop: one after the last bit.
    """

    name: str
    operation: str
    start: int
    stop: int


@partial(jax.tree_util.register_dataclass, data_fields=("bits",), meta_fields=("layers",))
@dataclass(frozen=True)
class ActivationPatterns:
    """The activation patterns of a batch; may be returned from a compiled function.

    Attributes:
        bits: bool (n, bits), one row an image: what `count_linear_regions` and `hamming_kernel` take.
        layers: where the bits come from, in their order.
    """

    bits: Bool[Array, "n bits"]
    layers: tuple[Layer, ...]

    def packed(self) -> UInt8[Array, "n bytes"]:
        """Eight bits a byte, the first bit the highest, as `numpy.packbits` does it; (n, ceil(bits / 8))."""
        return jnp.packbits(self.bits, axis=1)

    def of(self, name: str) -> Bool[Array, "n bits"]:
        """The bits of all layers whose name contains `name`.

        Args:
            name: a part of `Layer.name`.

        Raises:
            InputError: where there is none.
        """
        found = [self.bits[:, layer.start : layer.stop] for layer in self.layers if name in layer.name]
        if not found:
            known = ", ".join(sorted({layer.name for layer in self.layers}))
            raise InputError(f"`name` must be part of the name of a layer; it is {name!r}. There are: {known}.")
        return jnp.concatenate(found, axis=1)


def bits_of(patterns: Any) -> Bool[Any, "samples bits"]:
    """Patterns as one array of bits.

    Args:
        patterns: what `activation_patterns` returns, or bits (samples, bits).

    Raises:
        InputError: where they are not a two-dimensional bool array, or empty.
    """
    bits = patterns.bits if isinstance(patterns, ActivationPatterns) else patterns
    bits = bits if isinstance(bits, jax.Array) else np.asarray(bits)
    if bits.ndim != 2 or bits.dtype != bool or 0 in bits.shape:
        raise InputError(
            f"`patterns` must be bool (samples, bits), none of them 0; it is {bits.dtype} {bits.shape}. "
            "Pass what `activation_patterns` returns, or `activations > 0`, one row an input."
        )
    return bits


def activation_patterns(
    fn: Callable[[Array], Any],
    images: Float[Array, "n ..."],
    *,
    batch_stats: BatchStats | None = None,
    threshold: float | None = None,
) -> ActivationPatterns:
    """Which side of every breakpoint of a function each image is on; jittable.

    A plain call compiles a program and keeps it, see `program_cache.py`. Of `functools.partial(apply_fn, variables)` the
    variables are arguments of that program: new ones of the same shapes need no new program.

    Args:
        fn: `fn(images)`, any function that JAX can trace: a Flax or Equinox model with its parameters filled in.
        images: (n, ...), floating-point or whole numbers such as tokens; or a tree of such arrays, which `fn` gets.
        batch_stats: as for `ntk.empirical_ntk`: "frozen" treats every image on its own, `fn` seeing one at a time;
            "coupled" gives `fn` the whole batch, which it may normalise by its own statistics.
        threshold: for smooth activations such as tanh or GELU, which have no breakpoint: the bit is whether the argument
            of the function lies above the threshold, as in studies of such networks by the sign of the pre-activation.
            The argument is that of tanh, erf etc. in a network that writes its activation with them.

    Returns:
        The patterns.

    Raises:
        InputError: for images that are no floating-point batch, a smooth activation without a threshold, a function
            without an activation, a breakpoint inside a `lax.while_loop`, whose number of turns is not known beforehand,
            and for "coupled" where the axis of images cannot be told.

    Examples:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> weights = jnp.array([[1.0, -1.0]])
        >>> patterns = activation_patterns(lambda x: jax.nn.relu(x @ weights), jnp.array([[2.0], [-3.0]]))
        >>> patterns.bits.tolist()
        [[True, False], [False, True]]
        >>> patterns.layers[0].stop
        2
    """
    if not isinstance(fn, partial):
        return patterns_of(lambda _, x: fn(x), fn, (), images, batch_stats, threshold)
    function, given = fn.func, (fn.args, fn.keywords)
    return patterns_of(
        lambda given, x: function(*given[0], x, **given[1]), function, given, images, batch_stats, threshold
    )


def patterns_of(
    call: Callable[[Any, Array], Any],
    function: Any,
    given: Any,
    images: Any,
    batch_stats: BatchStats | None,
    threshold: float | None,
) -> ActivationPatterns:
    """`activation_patterns` of a function of variables and images.

    Args:
        call: `call(given, images)` calls the function.
        function: what is called: by it a kept program is found again.
        given: a tree, whose floating-point arrays are arguments of the program.
        images: (n, ...).
        batch_stats: see `activation_patterns`.
        threshold: see `activation_patterns`.

    Returns:
        The patterns.

    Raises:
        InputError: as `activation_patterns`.
    """
    mode = batch_stats_of(function, batch_stats)
    if is_tree(images):
        inputs, numbers = numbered("images", images)
        return patterns_of(looked_up(call), function, (given, inputs), numbers, mode, threshold)
    images = as_batch("images", images)
    if images.ndim < 1 or not is_readable(images) or len(images) == 0:
        raise InputError(
            f"`images` must be a batch (n, ...) of floating-point images, or of whole numbers such as tokens; "
            f"they are {images.dtype} {images.shape}. "
            "Normalise a batch with `tenas_jax.data.image_batch`."
        )
    leaves, structure = jax.tree.flatten(given)
    lifted = [_is_floating(leaf) for leaf in leaves]
    arrays = [leaf for leaf, lift in zip(leaves, lifted, strict=True) if lift]
    rest = [leaf for leaf, lift in zip(leaves, lifted, strict=True) if not lift]

    def filled(arrays, images):
        sources = {True: iter(arrays), False: iter(rest)}
        return call(jax.tree.unflatten(structure, [next(sources[lift]) for lift in lifted]), images)

    def build(compiled):
        return Kept(*_build(filled, arrays, images, mode, threshold, compiled))

    if not all(map(is_concrete, [*arrays, images])):
        return build(lambda program: program).program(arrays, images)
    key = "activation_patterns", structure, tuple(lifted), signature((arrays, images)), mode, threshold
    return PROGRAMS.find([function, rest], key, lambda: build(jax.jit))(arrays, images)


def _is_floating(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray) and jnp.issubdtype(leaf.dtype, jnp.floating)


def _build(fn, arrays, images, mode, threshold, compiled) -> tuple[Callable[..., ActivationPatterns], int]:
    """A program of arrays and images, and the bytes that it holds."""
    n = len(images)
    if mode == "frozen":
        seen = jax.ShapeDtypeStruct((1, *images.shape[1:]), images.dtype)
        observed = observer(fn, arrays, seen, threshold)
        axes: list[int | None] = [0] * len(observed.breakpoints)
    else:
        observed = observer(fn, arrays, images, threshold)
        axes = _axes_of_images(fn, arrays, images, threshold, observed)
    kept = [(point, axis) for point, axis in zip(observed.breakpoints, axes, strict=True) if axis is not None]
    if not kept:
        raise InputError(
            "`fn` must have an activation that depends on the image; none was found. "
            "See the documentation of `tenas_jax.patterns.piecewise_linear` for what counts as one."
        )

    @compiled
    def program(arrays, images):
        if mode == "frozen":
            found = jax.vmap(lambda image: observed.run(arrays, image[None]))(images)
        else:
            found = observed.run(arrays, images)
        # What has no axis of images, the variance of a batch norm say, is the same for all.
        moved = [jnp.moveaxis(bits, axis, 0) for bits, axis in zip(found, axes, strict=True) if axis is not None]
        rows = [bits.reshape(n, -1) for bits in moved]
        stops = np.cumsum([row.shape[1] for row in rows]).tolist()
        layers = tuple(
            Layer(point.name, point.operation, stop - row.shape[1], stop)
            for (point, _), row, stop in zip(kept, rows, stops, strict=True)
        )
        return ActivationPatterns(jnp.concatenate(rows, axis=1), layers)

    return program, observed.held_bytes


def _axes_of_images(fn, arrays, images, threshold, observed: Observer) -> list[int | None]:
    """The axis of images of every breakpoint's bits: the one that grows where one more image is traced."""
    n = len(images)
    longer = jax.ShapeDtypeStruct((n + 1, *images.shape[1:]), images.dtype)
    refusal = InputError(
        f"`fn` must keep an axis of {n} images at every activation, for batches of any size; it does not. "
        "Keep images apart when reshaping, or pass `batch_stats='frozen'` to treat every image on its own."
    )
    shapes = [bits.shape for bits in jax.eval_shape(observed.run, arrays, images)]
    try:
        other = observer(fn, arrays, longer, threshold)
        longer_shapes = [bits.shape for bits in jax.eval_shape(other.run, arrays, longer)]
    except TypeError as error:
        raise refusal from error
    if len(shapes) != len(longer_shapes):
        raise refusal
    axes: list[int | None] = []
    for shape, more in zip(shapes, longer_shapes, strict=True):
        grows = [axis for axis, (size, grown) in enumerate(zip(shape, more, strict=True)) if size != grown]
        if [(shape[axis], more[axis]) for axis in grows] not in ([], [(n, n + 1)]):
            raise refusal
        axes.append(grows[0] if grows else None)
    return axes
