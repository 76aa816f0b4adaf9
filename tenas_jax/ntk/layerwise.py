"""Gradients of single images, layer by layer, and their inner products.

The gradient of a convolution's or a linear layer's weight is a product X^T Y: of the layer's input X at every position, and
of the derivative Y of the network's output by the layer's output (Goodfellow 2015, "Efficient per-example gradient
computations"; Novak et al. 2022, "Fast finite width neural tangent kernel", section 3.3). So one backward pass of the
network gives X and Y of every layer and image, and the kernel needs no gradient of the whole network: either a layer's
gradients are formed, contracted and dropped, or, where a layer has few positions and many weights, the inner product is
read from (X X'^T) * (Y Y'^T). Parameters that a network uses in another way, or twice, get their gradients from JAX.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr
from jaxtyping import Array, Float

from tenas_jax.networks.jaxpr import PLAIN_CALLS, Step, program_of

# Steps that only order the numbers of a parameter anew, which inner products do not see.
_REORDERINGS = {"transpose", "reshape", "squeeze", "copy", "copy_p"}
# Rows of the matrix products that a CPU runs at full speed.
_ROWS = 256


def _type(atom: Any) -> Any:
    """Shape and dtype of an operand or result of an equation."""
    return atom.aval


@dataclass(frozen=True)
class Layer:
    """A step that multiplies its input by one parameter.

    Attributes:
        step: the convolution or product.
        weight: which of the step's operands is the parameter, 0 or 1; the other is the layer's input.
        parameter: its place among the parameters.
    """

    step: Step
    weight: int
    parameter: int

    @property
    def convolves(self) -> bool:
        """Whether this is a convolution."""
        return self.step.operation == "conv_general_dilated"

    @property
    def _params(self) -> dict[str, Any]:
        return self.step.equation.params

    @property
    def _weight_shape(self) -> tuple[int, ...]:
        return _type(self.step.equation.invars[self.weight]).shape

    @property
    def groups(self) -> int:
        """Groups of channels that are convolved apart."""
        return self._params["feature_group_count"] if self.convolves else 1

    @property
    def taps(self) -> tuple[int, ...]:
        """Sides of the kernel; () for a product."""
        if not self.convolves:
            return ()
        return tuple(self._weight_shape[axis] for axis in self._params["dimension_numbers"].rhs_spec[2:])

    def inputs(self, x: Float[Array, "n ..."]) -> Float[Array, "n c ..."]:
        """The layer's input, padded, as (n, channels, batch, *sides); of a product (n, features, positions)."""
        if not self.convolves:
            contracted = self._params["dimension_numbers"][0][1 - self.weight]
            free = [axis for axis in range(x.ndim - 1) if axis not in contracted]
            x = x.transpose(0, *(axis + 1 for axis in (*contracted, *free)))
            return x.reshape(len(x), prod(x.shape[1 : 1 + len(contracted)]), -1)
        lhs = self._params["dimension_numbers"].lhs_spec
        x = x.transpose(0, lhs[1] + 1, lhs[0] + 1, *(axis + 1 for axis in lhs[2:]))
        gaps = [dilation - 1 for dilation in self._params["lhs_dilation"]]
        borders = [(*pair, gap) for pair, gap in zip(self._params["padding"], gaps, strict=True)]
        return jax.lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0)] * 3 + borders)

    def derivatives(self, y: Float[Array, "n k ..."]) -> Float[Array, "n k p o"]:
        """Derivatives of `k` outputs by the layer's output, as (n, k, positions, channels)."""
        if self.convolves:
            out = self._params["dimension_numbers"].out_spec
            y = y.transpose(0, 1, out[0] + 2, *(axis + 2 for axis in out[2:]), out[1] + 2)
            return y.reshape(*y.shape[:2], -1, y.shape[-1])
        contracted = self._params["dimension_numbers"][0][self.weight]
        channels = prod(side for axis, side in enumerate(self._weight_shape) if axis not in contracted)
        if self.weight == 1:
            return y.reshape(*y.shape[:2], -1, channels)
        return y.reshape(*y.shape[:2], channels, -1).swapaxes(2, 3)

    def tap(self, inputs: Float[Array, "n c ..."], offsets: Sequence[Any]) -> Float[Array, "n c p"]:
        """What one tap of the kernel sees of `inputs`, at every position.

        Args:
            inputs: from `inputs`.
            offsets: the tap's place in the kernel, one number a side; none for a product.
        """
        if self.convolves:
            out = self._params["dimension_numbers"].out_spec
            shape = _type(self.step.equation.outvars[0]).shape
            strides = self._params["window_strides"]
            spans = [stride * (shape[axis] - 1) + 1 for stride, axis in zip(strides, out[2:], strict=True)]
            starts = [offset * step for offset, step in zip(offsets, self._params["rhs_dilation"], strict=True)]
            inputs = jax.lax.dynamic_slice(inputs, (0, 0, 0, *starts), (*inputs.shape[:3], *spans))
            inputs = inputs[:, :, :, *(slice(None, None, stride) for stride in strides)]
        return inputs.reshape(*inputs.shape[:2], -1)

    def by_groups(self, derivatives: Float[Array, "n k p o"]) -> Float[Array, "n ..."]:
        """`derivatives` as the right sides of matrix products: (n, p, k o), or with groups (n, p, groups, k o / groups)."""
        n, k, positions, channels = derivatives.shape
        y = derivatives.swapaxes(1, 2)
        if self.groups == 1:
            return y.reshape(n, positions, k * channels)
        y = y.reshape(n, positions, k, self.groups, channels // self.groups)
        return y.swapaxes(2, 3).reshape(n, positions, self.groups, -1)

    def gradient(self, inputs: Float[Array, "n c p"], derivatives: Float[Array, "n p ..."], k: int) -> Array:
        """Gradients of `k` outputs by one tap's weights, (n, c, k, channels).

        Args:
            inputs: from `tap`.
            derivatives: from `by_groups`.
            k: number of outputs.
        """
        n, channels, positions = inputs.shape
        wide = accumulator(inputs.dtype)
        if self.groups == 1:
            product = jnp.einsum("ncp,npj->ncj", inputs, derivatives, preferred_element_type=wide)
        else:
            inputs = inputs.reshape(n, self.groups, -1, positions)
            product = jnp.einsum("ngcp,npgj->ngcj", inputs, derivatives, preferred_element_type=wide)
        return product.reshape(n, channels, k, -1).swapaxes(1, 2)


def accumulator(dtype: Any) -> Any:
    """The type in which products are summed: half precision would lose what it adds up.

    Args:
        dtype: of the factors.
    """
    return dtype if jnp.finfo(dtype).bits >= 32 else jnp.dtype(jnp.float32)


def mark_of(outputs: Float[Array, "..."]) -> Float[Array, ""]:
    """Zero, or not a number where an output is not finite: its derivatives may be finite all the same.

    Args:
        outputs: of one image.
    """
    return jnp.where(jnp.isfinite(outputs).all(), 0, jnp.nan).astype(accumulator(outputs.dtype))


@dataclass(frozen=True)
class Layerwise:
    """A function of parameters, state and images, taken apart.

    Attributes:
        rows: `rows(parameters, state, images)` returns what the kernel needs of every image, a tree of arrays (n, ...).
        contract: `contract(rows, None)`, or with the rows of other images (m, ...) in place of None, returns the kernel
            (n, m), or (n, m, k, k), in single precision at least.
    """

    rows: Callable[[Any, Any, Array], Any]
    contract: Callable[[Any, Any], Array]


def take_apart(closed: ClosedJaxpr, parameters: int, full: bool) -> Layerwise:
    """Finds the layers of a function.

    Args:
        closed: the function as traced on lists of parameters and of other arrays, and on one image (1, ...); it returns
            outputs (1, k).
        parameters: their number.
        full: the kernel of every pair of outputs, instead of the mean of the outputs' kernels.

    Returns:
        Two functions, which JAX may compile and transform.
    """
    program = program_of(closed, calls=PLAIN_CALLS)
    layers = _layers(program, parameters)
    places = {id(layer.step): place for place, layer in enumerate(layers)}
    rest = [place for place in range(parameters) if place not in {layer.parameter for layer in layers}]

    def tapped(others, additions, parameters, state, image):
        """The outputs with something added to each layer's output; and the layers' inputs."""
        values, inputs = dict(program.constants), [jnp.zeros(())] * len(layers)
        arguments = list(parameters)
        for place, value in zip(rest, others, strict=True):
            arguments[place] = value
        values.update(zip(program.inputs, (*arguments, *state, image), strict=True))
        for step in program.steps:
            operands = [values[number] for number in step.inputs]
            results = step.evaluate(operands)
            if (place := places.get(id(step))) is not None:
                results = [results[0] + additions[place]]
                inputs[place] = operands[1 - layers[place].weight]
            values.update(zip(step.outputs, results, strict=True))
        return values[program.outputs[0]][0], inputs

    def row(parameters, state, image):
        others = [parameters[place] for place in rest]
        outs = [_type(layer.step.equation.outvars[0]) for layer in layers]
        zeros = [jnp.zeros(out.shape, out.dtype) for out in outs]
        outputs, pull_back, inputs = jax.vjp(
            lambda others, additions: tapped(others, additions, parameters, state, image[None]),
            others,
            zeros,
            has_aux=True,
        )
        gradients, derivatives = jax.vmap(pull_back)(jnp.eye(len(outputs), dtype=outputs.dtype))
        return list(zip(inputs, derivatives, strict=True)), gradients, mark_of(outputs)

    return Layerwise(jax.vmap(row, (None, None, 0)), partial(_contract, layers, full))


def _contract(layers, full: bool, left, right) -> Array:
    """The kernel of two batches' rows; of one batch with itself where the second is None."""
    right = left if right is None else right
    parts = [_product(layer, a, b, full) for layer, a, b in zip(layers, left[0], right[0], strict=True)]
    parts += [_inner(a, b, full) for a, b in zip(left[1], right[1], strict=True)]
    return marked(total(parts), left[2], right[2])


def total(parts: Sequence[Array]) -> Array:
    """The sum of kernels, in the widest of their types.

    Args:
        parts: of parameters, which may differ in precision.
    """
    dtype = max((part.dtype for part in parts), key=lambda dtype: dtype.itemsize)
    return sum((part.astype(dtype) for part in parts[1:]), parts[0].astype(dtype))


def marked(kernel: Float[Array, "n m ..."], rows: Float[Array, "n"], columns: Float[Array, "m"]) -> Array:
    """A kernel that is not a number wherever an output of one of the two images was not finite.

    Args:
        kernel: (n, m), or (n, m, k, k).
        rows: from `mark_of`, of each image.
        columns: of each other image.
    """
    marks = (rows[:, None] + columns[None]).astype(kernel.dtype)
    return kernel + marks.reshape(marks.shape + (1,) * (kernel.ndim - 2))


def _layers(program, count: int) -> list[Layer]:
    """Convolutions and products with a parameter that nothing else uses."""
    uses = Counter(number for step in program.steps for number in step.inputs) + Counter(program.outputs)
    origin = {number: place for place, number in enumerate(program.inputs[:count]) if uses[number] == 1}
    layers = []
    for step in program.steps:
        if step.operation in _REORDERINGS and step.inputs[0] in origin and uses[step.outputs[0]] == 1:
            origin[step.outputs[0]] = origin[step.inputs[0]]
        weights = [place for place in (1, 0) if len(step.inputs) == 2 and step.inputs[place] in origin]
        if weights and _is_product(step, weights[0]):
            layers.append(Layer(step, weights[0], origin[step.inputs[weights[0]]]))
    return layers


def _is_product(step: Step, weight: int) -> bool:
    params = step.equation.params
    dtypes = {_type(atom).dtype for atom in (*step.equation.invars, *step.equation.outvars)}
    if len(dtypes) > 1:
        return False
    if step.operation == "conv_general_dilated":
        return weight == 1 and params["batch_group_count"] == 1
    return step.operation == "dot_general" and params["dimension_numbers"][1] == ((), ())


def _inner(left: Float[Array, "n k ..."], right: Float[Array, "m k ..."], full: bool) -> Array:
    """Inner products of gradients: (n, m, k, k), or (n, m) with the mean over `k`."""
    n, m, k = len(left), len(right), left.shape[1]
    count = n * k if full else n
    rows, columns = left.reshape(count, -1), right.reshape(m * count // n, -1)
    product = jnp.matmul(rows, columns.T, preferred_element_type=accumulator(left.dtype))
    return product.reshape(n, k, m, k).swapaxes(1, 2) if full else product / k


def _product(layer: Layer, left, right, full: bool) -> Array:
    """The kernel of one layer's weights."""
    same = right is left
    x, y = layer.inputs(left[0]), layer.derivatives(left[1])
    x2, y2 = (x, y) if same else (layer.inputs(right[0]), layer.derivatives(right[1]))
    if _few_positions(layer, x, y, len(x2), same):
        return _by_positions(layer, (x, y), (x2, y2), full)

    # Outside of the loop: a CPU's compiler does not see that its result is the same in every turn.
    k, y, y2 = y.shape[1], layer.by_groups(y), layer.by_groups(y2)

    def of_tap(place):
        offsets = jnp.unravel_index(place, layer.taps) if layer.taps else ()
        first = layer.gradient(layer.tap(x, offsets), y, k)
        return _inner(first, first if same else layer.gradient(layer.tap(x2, offsets), y2, k), full)

    taps = prod(layer.taps)
    if taps == 1:
        return of_tap(0)
    # One tap after the other, so that no more than one tap's gradients are held.
    start = jax.eval_shape(of_tap, 0)
    return jax.lax.fori_loop(0, taps, lambda place, total: total + of_tap(place), jnp.zeros(start.shape, start.dtype))


def _few_positions(layer: Layer, x, y, m: int, same: bool) -> bool:
    """Whether inner products of positions need fewer multiplications than gradients and their inner products."""
    if layer.groups > 1:
        return False
    n, k, positions, channels = y.shape
    features = prod(layer.taps) * x.shape[1]
    formed = n if same else n + m
    by_gradients = (formed * positions + n * m) * k * features * channels
    return n * m * positions**2 * (features + k * channels) < by_gradients


def _by_positions(layer: Layer, left, right, full: bool) -> Array:
    """Sums over pairs of positions of <x, x'> <y, y'>."""

    def columns(x):
        return jnp.concatenate([layer.tap(x, offsets) for offsets in np.ndindex(layer.taps)], 1)

    (x, y), (x2, y2) = left, right
    x, x2 = columns(x), columns(x2)
    product = partial(jnp.einsum, preferred_element_type=accumulator(x.dtype))

    def row(image):
        x, y = image
        inputs = product("cp,mcq->pmq", x, x2)
        if full:
            return product("pmq,kpmlq->mkl", inputs, product("kpo,mlqo->kpmlq", y, y2))
        return product("pmq,pmq->m", inputs, product("kpo,mkqo->pmq", y, y2)) / len(y)

    return jax.lax.map(row, (x, y), batch_size=min(len(x), max(1, _ROWS // x.shape[-1])))
