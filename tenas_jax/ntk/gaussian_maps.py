"""Random feature maps as linear forms over independent sources, and their kernels."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from tenas_jax.ntk.gaussian_kernels import Batch, Kernels, congruence, pooling_matrix, square, total

# Channels that are drawn where a maximum leaves no closed form (max pooling), with a fixed key.
POOL_SAMPLES = 1024
MOST_WRITTEN_OUT = 3  # sources of a field with a mean; a loop over more compiles in a fraction of the time


@partial(jax.tree_util.register_dataclass, data_fields=["after", "inner"], meta_fields=["window", "stride", "padding"])
@dataclass(frozen=True)
class MaxPooled:
    """`after @ max_pool(inner)`: what no linear map of the sources can say.

    Attributes:
        after: (positions, positions of the pool's output), weights and linear maps that came after.
        inner: the field that is pooled.
        window: side of the window.
        stride: step.
        padding: of the border, with minus infinity.
    """

    after: Array
    inner: "Field"
    window: int
    stride: int
    padding: int


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["maps", "sources", "fresh", "rectified", "pooled", "mean"],
    meta_fields=["side", "channels", "after_relu", "is_gaussian", "is_centred", "is_depthwise"],
)
@dataclass(frozen=True)
class Field:
    """A random feature map: `sum_s maps[s] @ sources[s] + fresh`, with independent terms, and maxima of such maps.

    The sources are what a cell's values are linear in: its inputs, and at every node what fresh weights added there. Two
    paths that reach a node through skips and pools share their sources, so their correlation is exact.

    Attributes:
        maps: (positions, positions of the source) matrices, by source.
        sources: kernels of the sources.
        fresh: kernels of what fresh weights added, independent of the sources.
        rectified: the kernels of this field's ReLU where they have been computed already.
        pooled: terms that went through max pooling; they depend on the same sources.
        side: height and width.
        channels: number of channels (for the standard parametrisation).
        after_relu: whether a ReLU was the last to act, but for sums and pools of what comes out of them, so that a
            following weight has variance 2 / fan_in.
        is_gaussian: whether `fresh` is a Gaussian independent of the sources; not where something nonlinear, or a sum with
            sources, has become a part of it, and fresh weights have not followed yet.
        mean: (groups, positions, images) of the field; None where it is zero, or not known and never asked for.
        is_centred: whether kernels are about the mean; where they are not, `fresh` is all of the field and its K the second
            moment, which is all that a convolution asks for.
        is_depthwise: whether a depthwise convolution made a part of it and no other followed: then channels are Gaussian
            only given their filters.
    """

    maps: dict[int, Array]
    sources: dict[int, Kernels]
    fresh: Kernels | None
    rectified: Kernels | None
    pooled: tuple[MaxPooled, ...]
    side: int
    channels: int
    after_relu: bool = False
    is_gaussian: bool = True
    mean: Array | None = None
    is_centred: bool = False
    is_depthwise: bool = False

    @property
    def is_mixed(self) -> bool:
        """Whether a nonlinear function of it would depend on sources."""
        return not self.is_gaussian or bool(self.maps or self.pooled)


def gaussian_field(
    kernels: Kernels,
    side: int,
    channels: int,
    after_relu: bool = False,
    is_gaussian: bool = True,
    mean: Array | None = None,
) -> Field:
    """A field of fresh weights alone.

    Args:
        kernels: of the field.
        side: height and width.
        channels: number of channels.
        after_relu: see `Field`.
        is_gaussian: see `Field`.
        mean: see `Field`; the kernels are not about it.
    """
    return Field({}, {}, kernels, None, (), side, channels, after_relu, is_gaussian, mean)


def about_mean(x: Field, batch: Batch) -> Field:
    """The same field with kernels about its mean, as sums need them.

    Args:
        x: a field.
        batch: of images.
    """
    if x.mean is None or x.is_centred:
        return x
    assert x.fresh is not None
    fresh = x.fresh._replace(nngp=x.fresh.nngp - batch.products(x.mean))
    return replace(x, fresh=fresh, is_centred=True)


def realise(x: Field) -> Kernels:
    """The kernels of a field, about its mean where `is_centred`: `sum_s L_s K_s L_s^T` plus the fresh term's.

    Args:
        x: a field without maxima.
    """
    if x.mean is not None and len(x.maps) > MOST_WRITTEN_OUT and len({x.sources[s].nngp.shape for s in x.maps}) == 1:
        terms = [_in_a_loop(x)]
    else:
        terms = [congruence(matrix, x.sources[s]) for s, matrix in x.maps.items()]
    return Kernels.total(terms if x.fresh is None else [*terms, x.fresh])


def _in_a_loop(x: Field) -> Kernels:
    """The sum over many sources, most of them dead, as a program of one."""
    maps = jnp.stack([x.maps[s] for s in x.maps])
    sources = jax.tree.map(lambda *kernels: jnp.stack(kernels), *(x.sources[s] for s in x.maps))
    shape = (sources.nngp.shape[1], maps.shape[1], maps.shape[1], sources.nngp.shape[-1])
    nothing = Kernels(*(jnp.zeros(shape, maps.dtype) for _ in range(2)))

    def add(so_far, one):
        matrix, kernels = one
        total = partial(jax.tree.map, jnp.add, so_far)
        return jax.lax.cond((matrix != 0).any(), lambda: total(congruence(matrix, kernels)), lambda: so_far), None

    return jax.lax.scan(add, nothing, (maps, sources))[0]


def sampled_kernels(x: Field, batch: Batch, function: Callable[[Array], Array]) -> Kernels:
    """Kernels of `function(x)` from `POOL_SAMPLES` channels drawn with a fixed key: deterministic, without a closed form.

    K is the sample mean of products. For T a second, independent field with covariance T is drawn for every source and
    pushed through the derivative: its sample covariance has T' as its mean.

    Args:
        x: the field, with maxima or without.
        batch: of images.
        function: of channels (groups, samples, images, positions), elementwise.
    """
    sources = _all_sources(x)
    if x.fresh is not None:
        sources[0] = x.fresh
    values = {s: _draw(kernels[0], batch, 2 * s) for s, kernels in sources.items()}
    tangents = {s: _draw(kernels[1], batch, 2 * s + 1) for s, kernels in sources.items()}
    outputs = jax.jvp(lambda values: function(_evaluated(x, values)), (values,), (tangents,))
    products = [
        jnp.einsum("gsip,gsiq->gpqi", y[:, :, batch.first], y[:, :, batch.second], precision="highest") for y in outputs
    ]
    return Kernels(*products).map(lambda kernel: kernel / POOL_SAMPLES)


def _all_sources(x: Field) -> dict[int, Kernels]:
    inner = [_all_sources(term.inner) for term in x.pooled]
    return {s: kernels for sources in (*inner, x.sources) for s, kernels in sources.items()}


def _draw(kernel: Array, batch: Batch, number: int) -> Array:
    """Channels (groups, samples, images, positions) of a Gaussian process with covariance `kernel`."""

    def root(group):
        eigenvalues, vectors = jnp.linalg.eigh(square(group, batch))
        return vectors * jnp.sqrt(jnp.maximum(eigenvalues, 0))[None]

    roots = jax.vmap(root)(kernel)
    noise = jax.random.normal(
        jax.random.fold_in(jax.random.key(0), number), (POOL_SAMPLES, roots.shape[-1]), kernel.dtype
    )
    drawn = jnp.einsum("gij,sj->gsi", roots, noise, precision="highest")
    return drawn.reshape(*drawn.shape[:2], batch.size, -1)


def _evaluated(x: Field, values: dict[int, Array]) -> Array:
    """The field's channels where its sources are these."""
    terms = [jnp.einsum("pq,gsaq->gsap", matrix, values[s], precision="highest") for s, matrix in x.maps.items()]
    if x.fresh is not None:
        terms.append(values[0])
    for term in x.pooled:
        inner = _evaluated(term.inner, values)
        places = pooling_matrix(term.inner.side, term.window, term.stride, term.padding) > 0
        inside = [np.flatnonzero(row) for row in places]
        # Windows at the border hold fewer positions: one of them is repeated, which does not change a maximum.
        index = np.array([np.resize(row, term.window**2) for row in inside])
        terms.append(jnp.einsum("pq,gsaq->gsap", term.after, inner[..., index].max(-1), precision="highest"))
    return total(terms)
