"""Reads the network of a space as Gaussian-process kernels.

With infinitely many channels a feature map is a Gaussian process, one independent copy a channel. Its covariance (NNGP
kernel) K and its neural tangent kernel T go through every operator in closed form. `docs/analytic_ntk.md` derives every
formula used here.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from tenas_jax.errors import NotAnalyticError
from tenas_jax.ntk.field_arithmetic import (
    mapped_mean,
    needs_gaussian,
    product,
    scaled,
    stacked,
    stacked_means,
    when,
)
from tenas_jax.ntk.gaussian_batch_norm import normalise
from tenas_jax.ntk.gaussian_kernels import (
    Kernels,
    block_means,
    congruence,
    crop_matrix,
    pooling_matrix,
    relu_kernels,
    relu_mean,
    total,
    window_means,
)
from tenas_jax.ntk.gaussian_maps import Field, about_mean, gaussian_field, realise, sampled_kernels
from tenas_jax.ntk.maxima_reading import MOST_MAXIMA, MaximaReading


class KernelReading(MaximaReading):
    """Fields flow through the network. See `operators.Reading` for the operations."""

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
        for x in values:
            needs_gaussian("network", x, "a cell")
        return [self._sealed(self._realise(x), replace(x, pooled=(), is_gaussian=True), {}, {}) for x in values]

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
        field = self._weighted(kernels, x, kernel**2, -(-x.side // stride), x.channels)
        return replace(field, is_gaussian=False, is_depthwise=True)

    def _weighted(self, kernels, x, fan_in: int, side: int, channels: int):
        gain = 2.0 if x.after_relu else 1.0
        gradient = 1.0 if self._settings.parametrisation == "ntk" else fan_in / gain
        nngp = gain * kernels.nngp
        return gaussian_field(Kernels(nngp, gain * kernels.ntk + gradient * nngp), side, channels)

    def head(self, name, x, classes):
        """Global average pooling and a linear layer: kernels of one position."""
        # Weighted before it is averaged, which is the same: one array is averaged then, not two.
        weighted = self._weighted(self._realise(x), replace(x, after_relu=False), x.channels, x.side, classes)
        return gaussian_field(self._realise(weighted).map(_overall_mean), 1, classes)

    def choose(self, name, x, weights, operators, channels):
        """One way alone, where it is known while tracing; of others the widths are not the same."""
        alive = np.flatnonzero(weights) if isinstance(weights, np.ndarray) else ()
        if len(alive) != 1:
            raise NotAnalyticError(name, "its ways have different numbers of channels")
        return operators[int(alive[0])](name, x)

    def convolution_to(self, name, x, widths, weights, *, kernel=1, stride=1):
        """Of infinitely many channels none is missing."""
        raise NotAnalyticError(name, "its width depends on the mask")

    def squeeze_excite(self, name, x, channels):
        """Gates are functions of the channels that they scale."""
        raise NotAnalyticError(name, "squeeze-excitation has no closed form")

    # Operators that act on a field pointwise or normalise it.

    def relu(self, x):
        """The arc-cosine kernel of order 1, and of order 0 for the gradient (Cho and Saul 2009)."""
        if x.mean is not None:
            if not x.after_relu:
                raise NotAnalyticError(
                    "relu", "a field with a mean, the sum of a ReLU and of something else, enters a ReLU"
                )
            return x
        needs_gaussian("relu", x, "a ReLU")
        kernels = x.rectified if x.rectified is not None else self._rectified(x)
        # Of a ReLU that depends on sources no sum with them can be taken: without a mean it is refused there.
        mean = None if x.is_mixed else relu_mean(kernels, self._batch)
        return gaussian_field(kernels, x.side, x.channels, after_relu=True, is_gaussian=False, mean=mean)

    def batch_norm(self, name, x):
        """Batch norm over images and positions, group by group; without it the field as it came."""
        if self._settings.batch_norm == "none":
            return x
        if self._settings.batch_norm == "exact":
            needs_gaussian("batch_norm", x, "the exact form of batch norm")
        kernels = normalise(self._realise(x), self._batch, self._settings)
        field = gaussian_field(kernels, x.side, x.channels, is_gaussian=not x.is_mixed)
        return replace(field, is_depthwise=x.is_depthwise)

    def custom(self, name, x, layer):
        """Nothing is known of its kernel."""
        raise NotAnalyticError(name, "it has a custom layer")

    # Operators that are linear in positions.

    def average_pool(self, x, *, window, stride, padding):
        """A linear map on positions."""
        if x.fresh is not None and window == stride and padding == 0 and x.side % window == 0:
            pooled = self._realise(x).map(partial(block_means, side=x.side, window=window))
            mean = mapped_mean(pooling_matrix(x.side, window, stride, padding), x)
            field = gaussian_field(pooled, x.side // window, x.channels, x.after_relu, not x.is_mixed, mean)
            return replace(field, is_depthwise=x.is_depthwise)
        return self._mapped(x, pooling_matrix(x.side, window, stride, padding))

    def crop(self, x, *, offset, stride):
        """A selection of positions."""
        return self._mapped(x, crop_matrix(x.side, offset, stride))

    def zero(self, x, *, stride, channels=None):
        """The zero map."""
        nothing = self._mapped(x, np.zeros(((-(-x.side // stride)) ** 2, x.side**2)))
        return replace(nothing, channels=channels or x.channels)

    def _mapped(self, x, matrix):
        side, mean = round(len(matrix) ** 0.5), mapped_mean(matrix, x)
        if x.fresh is not None:  # outside a cell: nothing that follows is correlated with it
            kernels = self._realise(x)
            kernels = congruence(jnp.asarray(matrix, kernels.nngp.dtype), kernels)
            field = gaussian_field(kernels, side, x.channels, x.after_relu, not x.is_mixed, mean)
            return replace(field, is_depthwise=x.is_depthwise)
        maps = {s: product(matrix, m) for s, m in x.maps.items()}
        pooled = tuple(replace(t, after=product(matrix, t.after)) for t in x.pooled)
        after_relu = x.after_relu and mean is not None
        return Field(
            maps, x.sources, None, None, pooled, side, x.channels, after_relu, mean=mean, is_centred=mean is not None,
            is_depthwise=x.is_depthwise,
        )  # fmt: skip

    def _realise(self, x: Field) -> Kernels:
        if x.mean is None or not x.is_centred:
            return self._behind(lambda values: values, realise, x)
        # What a convolution behind it sums is not about the mean.
        if x.rectified is not None:
            return x.rectified
        kernels = realise(x)
        return kernels._replace(nngp=kernels.nngp + self._batch.products(x.mean))

    def _rectified(self, x: Field) -> Kernels:
        if x.mean is not None:  # of what is nowhere negative
            return self._realise(x)
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
        sizes = [value.channels for value in values]
        parts = [self._realise(value) for value in values]
        kernels, mean = stacked(parts, sizes), stacked_means(parts, values, sizes, self._batch)
        is_gaussian = not any(value.is_mixed for value in values)
        field = gaussian_field(kernels, values[0].side, sum(sizes), values[0].after_relu, is_gaussian, mean)
        field = replace(field, is_depthwise=any(value.is_depthwise for value in values))
        if not any(value.pooled for value in values):
            return field
        # The ReLU that follows has to see the maxima themselves, not a Gaussian of their moments.
        return replace(field, rectified=stacked([self._rectified(value) for value in values], sizes))

    def truncate(self, x, channels):
        """The same kernels of fewer channels, where all channels have the same."""
        if any(leaf.shape[0] > 1 for leaf in jax.tree.leaves((x.sources, x.fresh, x.rectified))):
            raise NotAnalyticError("truncate", "it keeps some of the channels of a concatenation")
        return replace(x, channels=channels)

    def add(self, values: Sequence[Field]) -> Field:
        """Adds maps source by source, and the kernels of fresh terms about their means, which are independent."""
        mean = None
        if len(values) > 1 and any(value.mean is not None for value in values):
            values = [about_mean(value, self._batch) for value in values]
            mean = total([value.mean for value in values if value.mean is not None])
            if any(value.pooled for value in values):
                raise NotAnalyticError("add", "maxima that are drawn meet what comes out of a ReLU")
        sources = {s: kernels for value in values for s, kernels in value.sources.items()}
        maps = {
            s: total([v.maps[s] for v in values if s in v.maps]) for s in sources if any(s in v.maps for v in values)
        }
        pooled = tuple(term for value in values for term in value.pooled)
        fresh = [value.fresh for value in values if value.fresh is not None]
        fresh = Kernels.total(fresh) if fresh else None
        is_gaussian = all(value.is_gaussian for value in values)
        return replace(
            values[0], maps=maps, sources=sources, fresh=fresh, rectified=None, pooled=pooled, is_gaussian=is_gaussian,
            after_relu=all(value.after_relu for value in values),
            mean=values[0].mean if mean is None else mean, is_centred=values[0].is_centred or mean is not None,
            is_depthwise=any(value.is_depthwise for value in values),
        )  # fmt: skip

    def edges(self, x, weights, operators, names):
        """Every operator is computed once for all edges, which differ by their weights and are independent copies."""
        x = about_mean(x, self._batch)
        if x.fresh is not None:
            x = self._sealed(x.fresh, x, x.maps, x.sources)
        # A mask that is known while tracing leaves the dead operators out.
        static = isinstance(weights, np.ndarray)
        first = self._sources + 1
        self._sources += MOST_MAXIMA * len(operators)
        branches = {
            o: partial(self._within_operator, f, _any(weights[:, o]), first + MOST_MAXIMA * o)
            for o, f in enumerate(operators)
            if not static or weights[:, o].any()
        }
        rectified = jax.eval_shape(self._rectified, x)  # once, since it takes as long to trace as all the rest
        called = [getattr(operator, "name", names[0] or "operator") for operator in operators]
        entering = replace(x, rectified=rectified)
        shapes = {o: _branch_shape(branch, entering, called[o]) for o, branch in branches.items()}
        random = [o for o, shape in shapes.items() if shape.fresh is not None]
        # Of what is behind a ReLU, maxima ask for it too.
        asking = [
            o for o, shape in shapes.items() if o in random or (x.after_relu and len(shape.sources) > len(x.sources))
        ]
        x = replace(x, rectified=when(_any(weights[:, asking]), lambda: self._rectified(x), rectified))
        outputs = {
            o: when(_any(weights[:, o]), partial(branch, x), shapes[o]) if o in random else branch(x)
            for o, branch in branches.items()
        }
        return [self.add([scaled(y, row[o]) for o, y in outputs.items() if not static or row[o]]) for row in weights]


def _branch_shape(branch, x: Field, name: str) -> Field:
    """The shape of an operator's output, which has to be a map of the sources plus a Gaussian of fresh weights."""
    try:
        output = jax.eval_shape(branch, x)
    except NotAnalyticError as error:
        raise NotAnalyticError(name, error.reason) from error
    # Behind a ReLU no other ReLU has to be taken of a sum with what is not Gaussian: it would change nothing.
    known = x.after_relu and output.after_relu and output.mean is not None
    if output.fresh is not None and not output.is_gaussian and not known:
        raise NotAnalyticError(
            name, "no convolution follows its last ReLU, depthwise convolution or batch norm of a sum"
        )
    return output


def _overall_mean(kernel):
    """Over groups and positions. As a product: a sum, fused with the ReLU before it, takes far longer on a CPU."""
    flat = kernel.reshape(-1, kernel.shape[-1])
    weights = np.full(len(flat), 1 / len(flat), kernel.dtype)
    return jnp.dot(weights, flat, precision="highest")[None, None, None]


def _any(weights):
    return (weights > 0).any()
