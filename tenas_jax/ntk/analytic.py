"""Reads `network.py` as Gaussian-process kernels: the analytic NTK.

With infinitely many channels a feature map is a Gaussian process, one independent copy a channel. Its covariance (NNGP
kernel) K and its neural tangent kernel T go through every operator in closed form: no weights, no seeds, no backward pass.
`docs/analytic_ntk.md` derives every formula used here.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from tenas_jax.errors import InputError, NotAnalyticError
from tenas_jax.function_identity import is_concrete
from tenas_jax.networks.apply_function import as_batch
from tenas_jax.ntk.gaussian_kernels import (
    Batch,
    Kernels,
    Settings,
    congruence,
    crop_matrix,
    input_kernels,
    normalise,
    pooling_matrix,
    relu_kernels,
    stacked,
    total,
    window_means,
)
from tenas_jax.ntk.gaussian_maps import Field, MaxPooled, gaussian_field, realise, sampled_kernels
from tenas_jax.program_cache import PROGRAMS, Kept, signature
from tenas_jax.spaces.network import network, reductions
from tenas_jax.spaces.skeleton import Skeleton
from tenas_jax.spaces.space import SearchSpace


class KernelReading:
    """Fields flow through the network. See `operators.Reading` for the operations."""

    def __init__(self, batch: Batch, settings: Settings):
        """Reads for a batch of images, in the limit that the settings name."""
        self._batch = batch
        self._settings = settings
        self._sources = 0

    def _sealed(self, kernels: Kernels, x: Field, maps, sources) -> Field:
        """A field in which `kernels` have become a source, for values that several edges are going to share."""
        self._sources += 1
        identity = jnp.eye(x.side**2, dtype=kernels.nngp.dtype)
        return replace(
            x, maps={**maps, self._sources: identity}, sources={**sources, self._sources: kernels}, fresh=None
        )

    def cell_inputs(self, values):
        """A cell's inputs are its first sources; with what came before there is nothing to be correlated."""
        if any(x.after_relu for x in values):
            raise NotAnalyticError("network", "a ReLU comes right before a cell, whose inputs are taken for Gaussians")
        return [self._sealed(self._realise(x), replace(x, pooled=(), entangled=False), {}, {}) for x in values]

    # Operators that bring fresh weights.

    def convolution(self, name, x, channels, *, kernel=1, stride=1, dilation=1):
        """K' = (s / k^2) sum_o K[p + o, q + o] averaged over channel groups, T' = the same of T + g K'."""
        kernels = window_means(
            self._realise(x).map(partial(jnp.mean, axis=0, keepdims=True)), x.side, kernel, stride, dilation
        )
        return self._weighted(kernels, x, kernel**2 * x.channels, -(-x.side // stride), channels)

    def depthwise_convolution(self, name, x, *, kernel, stride=1, dilation=1):
        """As a convolution, group by group. Not Gaussian, but the pointwise convolution that follows is."""
        kernels = window_means(self._realise(x), x.side, kernel, stride, dilation)
        return replace(self._weighted(kernels, x, kernel**2, -(-x.side // stride), x.channels), entangled=True)

    def _weighted(self, kernels, x, fan_in: int, side: int, channels: int):
        gain = 2.0 if x.after_relu else 1.0
        gradient = 1.0 if self._settings.parametrisation == "ntk" else fan_in / gain
        nngp = gain * kernels.nngp
        return gaussian_field(Kernels(nngp, gain * kernels.ntk + gradient * nngp), side, channels)

    def head(self, name, x, classes):
        """Global average pooling and a linear layer: kernels of one position."""
        pooled = self._realise(x).map(_overall_mean)
        return self._weighted(pooled, replace(x, after_relu=False), x.channels, 1, classes)

    # Operators that act on a field pointwise or normalise it.

    def relu(self, x):
        """The arc-cosine kernel of order 1, and of order 0 for the gradient (Cho and Saul 2009)."""
        kernels = x.rectified if x.rectified is not None else self._rectified(x)
        return gaussian_field(kernels, x.side, x.channels, after_relu=True, entangled=True)

    def batch_norm(self, name, x):
        """Batch norm over images and positions, group by group; without it the field as it came."""
        if self._settings.batch_norm == "none":
            return x
        kernels = normalise(self._realise(x), self._batch, self._settings)
        return gaussian_field(kernels, x.side, x.channels, entangled=x.is_mixed)

    def custom(self, name, x, layer):
        """Nothing is known of its kernel."""
        raise NotAnalyticError(name, "it has a custom layer")

    # Operators that are linear in positions.

    def average_pool(self, x, *, window, stride, padding):
        """A linear map on positions."""
        return self._mapped(x, pooling_matrix(x.side, window, stride, padding))

    def crop(self, x, *, offset, stride):
        """A selection of positions."""
        return self._mapped(x, crop_matrix(x.side, offset, stride))

    def zero(self, x, *, stride):
        """The zero map."""
        return self._mapped(x, np.zeros(((-(-x.side // stride)) ** 2, x.side**2)))

    def _mapped(self, x, matrix):
        side = round(len(matrix) ** 0.5)
        if x.fresh is not None:  # outside a cell: nothing that follows is correlated with it
            kernels = self._realise(x)
            kernels = congruence(jnp.asarray(matrix, kernels.nngp.dtype), kernels)
            return gaussian_field(kernels, side, x.channels, x.after_relu, x.is_mixed)
        maps = {s: _product(matrix, m) for s, m in x.maps.items()}
        pooled = tuple(replace(t, after=_product(matrix, t.after)) for t in x.pooled)
        return Field(maps, x.sources, None, None, pooled, side, x.channels)

    def max_pool(self, x, *, window, stride, padding):
        """No closed form: kept as it is until a ReLU, where channels are drawn (see `_sampled`)."""
        if x.after_relu:
            raise NotAnalyticError("max_pool", "it takes maxima right behind a ReLU")
        if x.fresh is not None:
            x = self.cell_inputs([x])[0]
        side = (x.side + 2 * padding - window) // stride + 1
        after = jnp.eye(side**2, dtype=jax.tree.leaves(x)[0].dtype)
        pooled = (MaxPooled(after, replace(x, rectified=None), window, stride, padding),)
        return Field({}, x.sources, None, None, pooled, side, x.channels)

    def _realise(self, x: Field) -> Kernels:
        return self._behind(lambda values: values, realise, x)

    def _rectified(self, x: Field) -> Kernels:
        return self._behind(jax.nn.relu, lambda x: relu_kernels(realise(x), self._batch), x)

    def _behind(self, function, closed_form, x: Field) -> Kernels:
        """The kernels of `function(x)`: in closed form unless a maximum is alive."""
        if not x.pooled:
            return closed_form(x)
        if not x.maps and x.fresh is None:
            return sampled_kernels(x, self._batch, function)
        alive = jnp.stack([jnp.abs(t.after).max() > 0 for t in x.pooled]).any()
        plain = replace(x, pooled=())
        return jax.lax.cond(alive, lambda: sampled_kernels(x, self._batch, function), lambda: closed_form(plain))

    def concatenate(self, values):
        """Channel groups side by side; repeated where they stand for more channels, so that all stand for equally many."""
        channels = sum(value.channels for value in values)
        sizes = [value.channels for value in values]
        kernels = stacked([self._realise(value) for value in values], sizes)
        entangled = any(value.is_mixed for value in values)
        field = gaussian_field(kernels, values[0].side, channels, values[0].after_relu, entangled)
        if not any(value.pooled for value in values):
            return field
        # The ReLU that follows has to see the maxima themselves, not a Gaussian of their moments.
        return replace(field, rectified=stacked([self._rectified(value) for value in values], sizes))

    def add(self, values: Sequence[Field]) -> Field:
        """Adds maps source by source, and the kernels of fresh terms, which are independent."""
        sources = {s: kernels for value in values for s, kernels in value.sources.items()}
        maps = {
            s: total([v.maps[s] for v in values if s in v.maps]) for s in sources if any(s in v.maps for v in values)
        }
        pooled = tuple(term for value in values for term in value.pooled)
        fresh = [value.fresh for value in values if value.fresh is not None]
        fresh = Kernels.total(fresh) if fresh else None
        entangled = any(value.entangled for value in values)
        return replace(
            values[0], maps=maps, sources=sources, fresh=fresh, rectified=None, pooled=pooled, entangled=entangled
        )

    def edges(self, x, weights, operators, names):
        """Every operator is computed once for all edges, which differ by their weights and are independent copies."""
        if x.fresh is not None:
            x = self._sealed(x.fresh, x, x.maps, x.sources)
        # A mask that is known while tracing leaves the dead operators out.
        static = isinstance(weights, np.ndarray)
        branches = {o: partial(f, "") for o, f in enumerate(operators) if not static or weights[:, o].any()}
        shapes = {o: _branch_shape(branch, x, operators[o]) for o, branch in branches.items()}
        random = [o for o, shape in shapes.items() if shape.fresh is not None]
        x = replace(x, rectified=_when(_any(weights[:, random]), lambda: self._rectified(x)))
        outputs = {
            o: _when(_any(weights[:, o]), partial(branch, x)) if o in random else branch(x)
            for o, branch in branches.items()
        }
        return [self.add([_scaled(y, row[o]) for o, y in outputs.items() if not static or row[o]]) for row in weights]


def _branch_shape(branch, x: Field, operator) -> Field:
    """The shape of an operator's output, which has to be a map of the sources plus a Gaussian with weights of its own."""
    name = getattr(operator, "name", "operator")
    try:
        output = jax.eval_shape(branch, x)
    except NotAnalyticError as error:
        raise NotAnalyticError(name, error.reason) from error
    if output.fresh is not None and output.entangled:
        raise NotAnalyticError(
            name, "no convolution follows its last ReLU, depthwise convolution or batch norm of a sum"
        )
    if set(output.sources) - set(x.sources):
        raise NotAnalyticError(name, "it takes maxima behind weights of its own")
    return output


def _overall_mean(kernel):
    """Over groups and positions. As a product: a sum, fused with the ReLU before it, takes far longer on a CPU."""
    flat = kernel.reshape(-1, kernel.shape[-1])
    weights = jnp.full(len(flat), 1 / len(flat), kernel.dtype)
    return jnp.dot(weights, flat, precision="highest")[None, None, None]


def _any(weights):
    return (weights > 0).any()


def _when(condition, compute):
    """`compute()`, or zeros of the same shape where the condition does not hold."""
    if isinstance(condition, np.bool_):
        return compute() if condition else _zeros(compute)
    return jax.lax.cond(condition, compute, partial(_zeros, compute))


def _zeros(compute):
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(compute))


def _scaled(x: Field, weight) -> Field:
    weight = jnp.asarray(weight, jax.tree.leaves(x)[0].dtype)
    maps = {s: weight * matrix for s, matrix in x.maps.items()}
    pooled = tuple(replace(t, after=weight * t.after) for t in x.pooled)
    fresh = None if x.fresh is None else x.fresh.map(lambda kernel: weight**2 * kernel)
    return replace(x, maps=maps, fresh=fresh, rectified=None, pooled=pooled)


def _product(matrix, other: Array) -> Array:
    return jnp.dot(jnp.asarray(matrix, other.dtype), other, precision="highest")


def analytic_ntk(
    space: SearchSpace,
    mask: Bool[Any, "cells edges ops"],
    images: Float[Array, "n h w c"],
    *,
    skeleton: Skeleton | None = None,
    settings: Settings = Settings(),
) -> Float[Array, "n n"]:
    """The NTK of a cell network in the limit of infinitely many channels, with respect to one output.

    A pure function, to be jitted and mapped at will; nothing in it is random. The mask is data: one compilation serves
    single architectures, half-pruned networks and supernets. A plain call compiles a program and keeps it, see
    `program_cache.py`: of a mask in JAX one for all masks, of a NumPy mask one for this mask.

    Images that are equal number by number have equal rows to the last bit, so that `spectrum` sees the kernel's rank:
    without this, what rounding makes of a correlation of 1 would pass for full rank.

    Args:
        space: the search space.
        mask: alive operators; a NumPy array is checked, and leaves dead operators out of the program.
        images: (n, h, w, c), n at least 2; what it costs grows with n^2 (h w)^2, so pool images to a few pixels first.
        skeleton: how cells are stacked; by default one cell a stage of 16 channels (NAS-Bench-201), a normal and a
            reduction cell (DARTS).
        settings: which limit is taken.

    Returns:
        (n, n), symmetric, in the dtype of the images.

    Raises:
        InputError: for integer images, fewer than two, images too small for the network's strides, a bad NumPy mask, or,
            without batch norm and outside of a trace, a kernel that overflows.
        NotAnalyticError: for an operator that has no kernel in closed form; a NumPy mask without it is read.

    Examples:
        >>> import jax
        >>> from tenas_jax import NAS_BENCH_201, condition_number
        >>> images = jax.random.normal(jax.random.key(0), (3, 4, 4, 3))
        >>> mask = NAS_BENCH_201.parse("|nor_conv_1x1~0|+|none~0|skip_connect~1|+|none~0|none~1|nor_conv_3x3~2|")
        >>> kernel = analytic_ntk(NAS_BENCH_201, mask, images, skeleton=Skeleton(channels=16, cells=1, stages=1))
        >>> kernel.shape, condition_number(kernel).health
        ((3, 3), 'full rank')
    """
    skeleton = skeleton or space.skeleton("ntk")._replace(channels=16)
    images = as_batch("images", images)
    _check(space, mask, images, skeleton, settings)
    if not (is_concrete(images) and is_concrete(mask)):
        return _kernel(space, mask, images, skeleton, settings)
    if isinstance(mask, np.ndarray):
        # With NumPy's mask in its closure, the program is that of the operators that are alive.
        program = PROGRAMS.find(
            [space, skeleton, settings, mask],
            ("analytic_ntk", signature(images)),
            lambda: Kept(jax.jit(lambda images: _kernel(space, mask, images, skeleton, settings)), 0),
        )
        return _checked(program(images), images, settings)
    program = PROGRAMS.find(
        [space, skeleton, settings],
        ("analytic_ntk", signature((mask, images))),
        lambda: Kept(jax.jit(lambda mask, images: _kernel(space, mask, images, skeleton, settings)), 0),
    )
    return _checked(program(mask, images), images, settings)


def _checked(kernel, images, settings) -> Array:
    if settings.batch_norm == "none":
        _check_finite(kernel, images)
    return kernel


def _kernel(space, mask, images, skeleton, settings) -> Array:
    batch = Batch.of(images.shape[0])
    x = gaussian_field(input_kernels(images, batch), images.shape[1], images.shape[-1])
    output = network(KernelReading(batch, settings), space, mask, x, skeleton)
    return kernel_matrix(output, batch, first_equal(images))


def first_equal(images: Float[Array, "n h w c"]) -> Int[Array, " n"]:
    """For every image the first that is equal to it.

    Args:
        images: (n, h, w, c).
    """
    flat = images.reshape(len(images), -1)
    return (flat[:, None] == flat[None]).all(-1).argmax(1)


def kernel_matrix(output: Field, batch: Batch, first: Int[Array, " n"]) -> Float[Array, "n n"]:
    """The NTK that the head of a network gives; the rows of equal images are equal to the bit.

    Args:
        output: of the head.
        batch: of images.
        first: from `first_equal`.
    """
    ntk = realise(output).ntk[0, 0, 0]
    kernel = jnp.zeros((batch.size, batch.size), ntk.dtype).at[batch.first, batch.second].set(ntk)
    kernel = kernel.at[batch.second, batch.first].set(ntk)
    return kernel[first][:, first]


def analytic_obstacle(space: SearchSpace) -> NotAnalyticError | None:
    """Why a space has no analytic NTK: the first operator that `analytic_ntk` cannot read, or None. Nothing is computed.

    Args:
        space: the search space.
    """
    if not space.is_custom:
        return None
    mask, images = jax.ShapeDtypeStruct(space.mask_shape, bool), jax.ShapeDtypeStruct((2, 8, 8, 3), np.float32)
    try:
        jax.eval_shape(lambda mask, images: analytic_ntk(space, mask, images), mask, images)
    except NotAnalyticError as error:
        return error
    return None


def _check_finite(kernel, images) -> None:
    """Where nothing normalises, variances grow with every sum of branches; a traced kernel says so by its health."""
    if np.isfinite(kernel).all():
        return
    if not np.isfinite(images).all():
        raise InputError("`images` must be finite; they hold infinities or nan. Normalise them.")
    wider = (
        "Scale the images down, or stack fewer cells."
        if kernel.dtype == jnp.float64
        else "Pass them as float64, with `jax_enable_x64`, scale them down, or stack fewer cells."
    )
    raise InputError(
        f"without batch norm the kernel of this network outgrows {kernel.dtype}; the images have values up to "
        f"{float(jnp.abs(images).max()):.3g}. {wider}"
    )


def _check(space, mask, images, skeleton, settings) -> None:
    if images.ndim != 4 or images.shape[0] < 2 or not jnp.issubdtype(images.dtype, jnp.floating):
        raise InputError(
            f"`images` must be floating-point (n, h, w, c) with n at least 2; they are {images.dtype} {images.shape}. "
            "Normalise a batch with `tenas_jax.data.image_batch`."
        )
    side, halved = images.shape[1], reductions(space, skeleton)
    if images.shape[2] != side or side % 2**halved:
        raise InputError(
            f"the network halves the sides of its images {halved} times, so they must be square with a side that is a "
            f"multiple of {2**halved}; they are {side} x {images.shape[2]}. Pool or crop them."
        )
    if settings.statistics == "coupled" and settings.batch_norm != "exact":
        raise InputError(
            f'statistics="coupled" needs batch_norm="exact"; it is "{settings.batch_norm}", which has no variance of a '
            'channel for gradients to pass through. Use "mean-coupled" or the exact form.'
        )
    if isinstance(mask, np.ndarray):
        space.check(mask)
