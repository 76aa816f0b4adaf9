"""Activation patterns of any JAX function: which side of its kinks every neuron is on.

The ReLUs of a function are found in its jaxpr, not asked for: where a value that depends on the images passes a point at
which the function changes its slope, the side is a bit (`kinks.py` says what counts). A network that is made of linear
maps and such kinks is linear wherever no bit changes (Hanin and Rolnick 2019; TE-NAS, Chen et al. 2021, section 3.1.2).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, UInt8

from tenas_jax.errors import InputError
from tenas_jax.patterns.piecewise_linear import observer


class Layer(NamedTuple):
    """Where a range of bits comes from.

    Attributes:
        name: scopes and functions around the kink, joined by "/", such as `ResNet/Block_0/relu`.
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


def activation_patterns(
    fn: Callable[[Array], Any],
    images: Float[Array, "n ..."],
    *,
    batch_stats: Literal["frozen", "coupled"] = "frozen",
    threshold: float | None = None,
) -> ActivationPatterns:
    """Which side of every kink of a function each image is on; jittable.

    Args:
        fn: `fn(images)`, any function that JAX can trace: a Flax or Equinox model with its parameters filled in.
        images: (n, ...).
        batch_stats: as for `ntk.empirical_ntk`: "frozen" treats every image on its own, `fn` seeing one at a time;
            "coupled" gives `fn` the whole batch, which it may normalise by its own statistics.
        threshold: for smooth activations such as tanh or GELU, which have no kink: the bit is whether the argument of the
            function lies above the threshold, as in studies of such networks by the sign of the pre-activation. The
            argument is that of tanh, erf etc. in a network that writes its activation with them.

    Returns:
        The patterns.

    Raises:
        InputError: for images that are no floating-point batch, a smooth activation without a threshold, a function
            without an activation, a kink inside a `lax.while_loop`, whose number of turns is not known beforehand, and for
            "coupled" where the axis of images cannot be told.

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
    if batch_stats not in ("frozen", "coupled"):
        raise InputError(f"`batch_stats` must be 'frozen' or 'coupled'; it is {batch_stats!r}.")
    images = jnp.asarray(images)
    if images.ndim < 1 or not jnp.issubdtype(images.dtype, jnp.floating) or len(images) == 0:
        raise InputError(
            f"`images` must be a floating-point batch (n, ...); they are {images.dtype} {images.shape}. "
            "Normalise a batch with `tenas_jax.data.image_batch`."
        )
    if batch_stats == "frozen":
        kinks, run = observer(fn, jax.ShapeDtypeStruct((1, *images.shape[1:]), images.dtype), threshold)
        found = jax.vmap(lambda image: run(image[None]))(images)
    else:
        kinks, run = observer(fn, images, threshold)
        kinks, found = _by_image(fn, images, threshold, kinks, run(images))
    if not found:
        raise InputError(
            "`fn` must have an activation that depends on the image; none was found. "
            "See the documentation of `tenas_jax.patterns.piecewise_linear` for what counts as one."
        )
    rows = [bits.reshape(len(images), -1) for bits in found]
    stops = np.cumsum([row.shape[1] for row in rows]).tolist()
    layers = tuple(
        Layer(kink.name, kink.operation, stop - row.shape[1], stop)
        for kink, row, stop in zip(kinks, rows, stops, strict=True)
    )
    return ActivationPatterns(jnp.concatenate(rows, axis=1), layers)


def _by_image(fn, images, threshold, kinks, found):
    """Bits with the axis of images first: the axis that grows where one more image is traced."""
    n = len(images)
    longer = jax.ShapeDtypeStruct((n + 1, *images.shape[1:]), images.dtype)
    refusal = InputError(
        f"`fn` must keep an axis of {n} images at every activation, for batches of any size; it does not. "
        "Keep images apart when reshaping, or pass `batch_stats='frozen'` to treat every image on its own."
    )
    try:
        _, run = observer(fn, longer, threshold)
        shapes = [bits.shape for bits in jax.eval_shape(run, longer)]
    except TypeError as error:
        raise refusal from error
    if len(shapes) != len(found):
        raise refusal
    kept = []
    for kink, bits, shape in zip(kinks, found, shapes, strict=True):
        grows = [axis for axis, (size, more) in enumerate(zip(bits.shape, shape, strict=True)) if size != more]
        if [(bits.shape[axis], shape[axis]) for axis in grows] not in ([], [(n, n + 1)]):
            raise refusal
        # What has no axis of images, the variance of a batch norm say, is the same for all.
        kept += [(kink, jnp.moveaxis(bits, axis, 0)) for axis in grows]
    return [kink for kink, _ in kept], [bits for _, bits in kept]
