"""Max pooling of Gaussian fields, read as an operation of a network: drawn channels, or moments of maxima."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from itertools import count

import jax
import jax.numpy as jnp
import numpy as np

from tenas_jax.errors import NotAnalyticError
from tenas_jax.ntk.field_arithmetic import maxima_behind_relus, needs_gaussian, product, when
from tenas_jax.ntk.gaussian_kernels import Batch, Settings, congruence, pooling_matrix
from tenas_jax.ntk.gaussian_maps import Field, MaxPooled, about_mean, gaussian_field, realise
from tenas_jax.ntk.gaussian_maxima import max_pooled

MOST_MAXIMA = 64  # in one operator: so many numbers are kept free for their sources


class MaximaReading(ABC):
    """What `KernelReading` does with max pooling, whose output is a source of its own where moments are taken."""

    def __init__(self, batch: Batch, settings: Settings):
        """Reads for a batch of images, in the limit that the settings name."""
        self._batch = batch
        self._settings = settings
        self._sources = 0
        self._operator = None  # while one is read: whether it is alive, and numbers for sources

    @abstractmethod
    def cell_inputs(self, values: Sequence[Field]) -> list[Field]:
        """See `KernelReading`."""

    def max_pool(self, x, *, window, stride, padding):
        """No closed form: kept as it is until a ReLU, where channels are drawn (see `_sampled`)."""
        if x.mean is not None:
            return self._max_pooled_about_mean(x, window, stride, padding)
        if x.after_relu:
            raise NotAnalyticError("max_pool", "it takes maxima right behind a ReLU")
        needs_gaussian("max_pool", x, "a maximum")
        if x.fresh is not None:
            if self._operator is not None:
                raise NotAnalyticError("max_pool", "it takes maxima behind fresh weights")
            x = self.cell_inputs([x])[0]
        if self._settings.maxima == "moments":
            return self._max_pooled(x, window, stride, padding)
        side = (x.side + 2 * padding - window) // stride + 1
        after = jnp.eye(side**2, dtype=jax.tree.leaves(x)[0].dtype)
        pooled = (MaxPooled(after, replace(x, rectified=None), window, stride, padding),)
        return Field({}, x.sources, None, None, pooled, side, x.channels)

    def _max_pooled(self, x, window, stride, padding):
        """As an average pooling and, independent of all that is pooled, a source of its own for what that lacks.

        A maximum of Gaussians has with any other the covariance of the position that is the largest (Stein's lemma), here
        taken for any of the window's with equal chances.
        """
        alive, numbers = self._operator or (np.True_, count(self._sources + 1))
        matrix = jnp.asarray(pooling_matrix(x.side, window, stride, padding), jax.tree.leaves(x)[0].dtype)

        def beyond():
            before = realise(x)
            linear, maxima = (
                congruence(matrix, before),
                max_pooled(before, self._batch, x.side, window, stride, padding),
            )
            return jax.tree.map(jnp.subtract, maxima, linear)

        number = next(numbers)
        self._sources = max(self._sources, number)
        maps = {s: product(matrix, m) for s, m in x.maps.items()} | {number: jnp.eye(len(matrix), dtype=matrix.dtype)}
        sources = {**x.sources, number: when(alive, beyond)}
        return Field(maps, sources, None, None, (), round(len(matrix) ** 0.5), x.channels)

    def _max_pooled_about_mean(self, x, window, stride, padding):
        """Of what is behind ReLUs, always by moments: as `_max_pooled`, with a mean that has its closed form too."""
        side = (x.side + 2 * padding - window) // stride + 1
        matrix = jnp.asarray(pooling_matrix(x.side, window, stride, padding), x.mean.dtype)
        if x.fresh is not None:
            if self._operator is not None:
                raise NotAnalyticError("max_pool", "it takes maxima behind fresh weights")
            x = about_mean(x, self._batch)
            kernels, mean = maxima_behind_relus(x, realise(x), self._batch, window, stride, padding)
            field = gaussian_field(kernels, side, x.channels, x.after_relu, False, mean)
            return replace(field, is_centred=True)
        alive, numbers = self._operator or (np.True_, count(self._sources + 1))

        def beyond():
            before = realise(x) if x.rectified is None else x.rectified
            if x.rectified is not None:
                before = before._replace(nngp=before.nngp - self._batch.products(x.mean))
            maxima, mean = maxima_behind_relus(x, before, self._batch, window, stride, padding)
            return jax.tree.map(jnp.subtract, maxima, congruence(matrix, before)), mean

        number = next(numbers)
        self._sources = max(self._sources, number)
        lacking, mean = when(alive, beyond)
        maps = {s: product(matrix, m) for s, m in x.maps.items()} | {number: jnp.eye(len(matrix), dtype=matrix.dtype)}
        return replace(x, maps=maps, sources={**x.sources, number: lacking}, rectified=None, mean=mean, side=side)

    def _within_operator(self, function, alive, first: int, x: Field) -> Field:
        """Calls an operator; what maxima in it bring along are the sources from `first` on, however often it is traced."""
        self._operator = alive, count(first)
        try:
            return function("", x)
        finally:
            self._operator = None
