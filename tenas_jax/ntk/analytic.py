"""The analytic NTK: the kernel of a cell network in the limit of infinite width, without weights, seeds or backward pass.

`kernel_reading.py` takes kernels through the network; here images go in, and the kernel of the head comes out.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from tenas_jax.errors import InputError, NotAnalyticError
from tenas_jax.function_identity import is_concrete
from tenas_jax.networks.apply_function import as_batch
from tenas_jax.ntk.gaussian_kernels import Batch, Settings, input_kernels
from tenas_jax.ntk.gaussian_maps import Field, gaussian_field, realise
from tenas_jax.ntk.kernel_reading import KernelReading
from tenas_jax.program_cache import PROGRAMS, Kept, signature
from tenas_jax.spaces.network import network, reductions
from tenas_jax.spaces.skeleton import Skeleton
from tenas_jax.spaces.space import SearchSpace


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
    """Why a space has no analytic NTK: the first operator without a closed form, or None. Nothing is computed.

    Args:
        space: the search space.
    """
    if space.family.has_closed_form and not space.is_custom:
        return None
    side = max(8, 2 ** reductions(space, space.skeleton("ntk")))
    mask, images = jax.ShapeDtypeStruct(space.mask_shape, bool), jax.ShapeDtypeStruct((2, side, side, 3), np.float32)
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
