"""Activation patterns of any JAX function: which side of its kinks every neuron is on.

The ReLUs of a function are found in its jaxpr, not asked for: where a value that depends on the images passes a point at
which the function changes its slope, the side is a bit. A network that is made of linear maps and such kinks is linear
wherever no bit changes (Hanin and Rolnick 2019; TE-NAS, Chen et al. 2021, section 3.1.2).

What counts as a kink:
    - `max` and `min`: the ReLU and all that is written with it, `relu6`, `clip` and `hard_tanh` (two kinks each), maxout;
    - `abs` and `sign`;
    - a comparison of floating-point values that a selection or a product asks: `jnp.where(x > 0, x, 0.01 * x)`;
    - a `lax.cond` or `lax.switch` whose branch depends on the image.

What does not count: max pooling and `jnp.max` over an axis, since patterns in the literature are of neurons only; what
does not depend on the images; a bound of infinity; a lower bound that guards a root, a logarithm or a divisor (the
variance of a batch, layer or group norm); the exponentials of a softmax; products of features (attention, gates).
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
from tenas_jax.programs import Program, Step, as_arrays, bodies, program_of

# Written by JAX with kinks inside, but smooth as a whole, or better known by these names than by what is inside.
_SMOOTH_FUNCTIONS = frozenset(
    {"softplus", "logaddexp", "mish", "elu", "selu", "celu", "silu", "swish", "gelu", "log_sigmoid", "sigmoid"}
)
_SMOOTH = _SMOOTH_FUNCTIONS | {"tanh", "logistic", "erf", "erfc", "exp", "exp2", "expm1", "sin", "cos", "atan", "asinh"}
_COMPARISONS = {"gt", "ge", "lt", "le"}
_LOGIC = {"and", "or", "not", "xor"}
_REARRANGEMENTS = {
    "broadcast_in_dim",
    "reshape",
    "squeeze",
    "transpose",
    "convert_element_type",
    "copy",
    "stop_gradient",
}
_REDUCTIONS = ("reduce", "scatter", "select_and", "sort", "argmax", "argmin", "custom_linear_solve")


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


class _Kink(NamedTuple):
    """A source of bits: what it is called and how the operands of its step decide."""

    name: str
    operation: str
    bits: Callable[[list[Any]], Any]


class _Plan(NamedTuple):
    """What to observe in a program: kinks by step, plans of inner programs by step, and which outputs depend."""

    kinks: dict[int, list[_Kink]]
    inner: dict[int, list["_Plan"]]
    outputs: list[bool]

    def all(self) -> list[_Kink]:
        """In the order in which `_run` returns their bits."""
        found = []
        for step in sorted(self.kinks.keys() | self.inner.keys()):
            found += self.kinks.get(step, [])
            for plan in self.inner.get(step, []):
                found += plan.all()
        return found


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
        kinks, run = _observer(fn, jax.ShapeDtypeStruct((1, *images.shape[1:]), images.dtype), threshold)
        found = jax.vmap(lambda image: run(image[None]))(images)
    else:
        kinks, run = _observer(fn, images, threshold)
        kinks, found = _by_image(fn, images, threshold, kinks, run(images))
    if not found:
        raise InputError(
            "`fn` must have an activation that depends on the image; none was found. "
            "See the documentation of `tenas_jax.activations` for what counts as one."
        )
    rows = [bits.reshape(len(images), -1) for bits in found]
    stops = np.cumsum([row.shape[1] for row in rows]).tolist()
    layers = tuple(
        Layer(kink.name, kink.operation, stop - row.shape[1], stop)
        for kink, row, stop in zip(kinks, rows, stops, strict=True)
    )
    return ActivationPatterns(jnp.concatenate(rows, axis=1), layers)


def _observer(fn, images, threshold) -> tuple[list[_Kink], Callable[[Any], list[Any]]]:
    """The kinks of a function, and a function that returns their bits for a batch of the same shape."""
    program = program_of(jax.make_jaxpr(fn)(images), _SMOOTH_FUNCTIONS)
    planner = _Planner(threshold)
    plan = planner.plan(program, [True])
    if planner.smooth:
        raise InputError(
            f"`fn` must be piecewise linear; it has smooth activations: {', '.join(sorted(planner.smooth))}. "
            "Pass `threshold=0.0` to take the sign of their arguments as the bits."
        )
    return plan.all(), lambda images: _run(program, plan, [images])[1]


def _by_image(fn, images, threshold, kinks, found):
    """Bits with the axis of images first: the axis that grows where one more image is traced."""
    n = len(images)
    longer = jax.ShapeDtypeStruct((n + 1, *images.shape[1:]), images.dtype)
    refusal = InputError(
        f"`fn` must keep an axis of {n} images at every activation, for batches of any size; it does not. "
        "Keep images apart when reshaping, or pass `batch_stats='frozen'` to treat every image on its own."
    )
    try:
        _, run = _observer(fn, longer, threshold)
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


# --- finding kinks --------------------------------------------------------------------------------


class _Uses:
    """Who reads a value of a program."""

    def __init__(self, program: Program):
        self.readers: dict[int, list[tuple[Step, int]]] = {}
        for step in program.steps:
            for place, number in enumerate(step.inputs):
                self.readers.setdefault(number, []).append((step, place))
        self.returned = set(program.outputs)

    def ends(self, number: int, through: Callable[[Step, int], bool]) -> list[tuple[str, int]] | None:
        """Operations and places in which a value ends, seen through some; None where the program returns it."""
        if number in self.returned:
            return None
        found = []
        for step, place in self.readers.get(number, []):
            if not through(step, place):
                found.append((step.operation, place))
                continue
            ends = self.ends(step.outputs[0], through)
            if ends is None:
                return None
            found += ends
        return found


class _Planner:
    """Finds the kinks of a program; collects the names of smooth activations where there is no threshold for them."""

    def __init__(self, threshold: float | None):
        self.threshold = threshold
        self.smooth: set[str] = set()

    def plan(self, program: Program, depends: list[bool]) -> _Plan:
        """Which inputs depend on the images decides which steps do."""
        dependent = {number for number, does in zip(program.inputs, depends, strict=True) if does}
        kinks, inner = {}, {}
        rules = _Rules(program, dependent, self)
        for index, step in enumerate(program.steps):
            flags = [number in dependent for number in step.inputs]
            if not any(flags):
                continue
            outputs = [True] * len(step.outputs)
            if step.inner:
                plans, outputs = _INNER[step.operation](self, step, flags)
                if any(plan.all() for plan in plans):
                    inner[index] = plans
            elif not step.operation.startswith(_REDUCTIONS) and step.operation not in _SMOOTH:
                self.refuse_inside(step)
            found = rules.kinks(step, flags)
            if found:
                kinks[index] = found
            dependent |= {number for number, does in zip(step.outputs, outputs, strict=True) if does}
        return _Plan(kinks, inner, [number in dependent for number in program.outputs])

    def refuse_inside(self, step: Step) -> None:
        """A primitive with a function inside that is not understood may hide activations."""
        for body in bodies(step.equation):
            if self.plan(program_of(body, _SMOOTH_FUNCTIONS), [True] * len(body.jaxpr.invars)).all():
                raise InputError(
                    f"`fn` must have its activations outside of `{step.operation}`, which cannot be looked into. "
                    "Use jit, vmap, checkpoint, scan, cond or custom derivatives only."
                )

    def scan(self, step: Step, flags: list[bool]) -> tuple[list[_Plan], list[bool]]:
        """A carry that depends after one turn depends in the next."""
        consts, carry = step.equation.params["num_consts"], step.equation.params["num_carry"]
        flags = list(flags)
        while True:
            plan = self.plan(step.inner[0], flags)
            after = [a or b for a, b in zip(flags[consts : consts + carry], plan.outputs, strict=False)]
            if after == flags[consts : consts + carry]:
                return [plan], [*after, *plan.outputs[carry:]]
            flags[consts : consts + carry] = after

    def while_loop(self, step: Step, flags: list[bool]) -> tuple[list[_Plan], list[bool]]:
        """Bits of an unknown number of turns have no shape."""
        plan = self.plan(step.inner[1], [any(flags)] * len(step.inner[1].inputs))
        if plan.all():
            raise InputError(
                f"`fn` must know beforehand how often an activation is computed; `lax.while_loop` has "
                f"{plan.all()[0].operation!r} inside. Use `lax.scan`, or `lax.fori_loop` with fixed bounds."
            )
        return [], [any(flags)] * len(step.outputs)

    def cond(self, step: Step, flags: list[bool]) -> tuple[list[_Plan], list[bool]]:
        """An output depends where it does in any branch, or where the choice does."""
        plans = [self.plan(branch, flags[1:]) for branch in step.inner]
        outputs = [flags[0] or any(does) for does in zip(*(plan.outputs for plan in plans), strict=True)]
        return plans, outputs


class _Rules:
    """What counts as a kink, for the steps of one program."""

    def __init__(self, program: Program, dependent: set[int], planner: _Planner):
        self.constants, self.dependent, self.planner = program.constants, dependent, planner
        self.uses = _Uses(program)
        self.makers = {number: step for step in program.steps for number in step.outputs}
        self.asked: set[int] = set()

    def kinks(self, step: Step, flags: list[bool]) -> list[_Kink]:
        """Those of one step that depends on the images."""
        if step.operation == "cond" and flags[0]:
            count = len(step.inner)
            return [self.kink(step, lambda values: jax.nn.one_hot(values[0], count, dtype=bool))]
        if step.operation in _SMOOTH:
            return self.smooth(step, flags)
        if step.operation in ("max", "min"):
            return self.bound(step, flags)
        if step.operation == "clamp":
            sides = [side for side in (0, 2) if not self.infinite(step.inputs[side])]
            return [self.kink(step, lambda values, side=side: values[1] > values[side]) for side in sides]
        if step.operation in ("abs", "sign") and _floating(step) and not self.guards(step, ("log",)):
            return [self.kink(step, lambda values: values[0] > 0)]
        return self.question(step)

    def kink(self, step: Step, bits: Callable[[list[Any]], Any]) -> _Kink:
        return _Kink("/".join(step.scope) or step.operation, step.operation, bits)

    def smooth(self, step: Step, flags: list[bool]) -> list[_Kink]:
        """By a threshold, where there is one."""
        if step.operation == "logaddexp" and all(flags):
            return []
        if step.operation == "exp":
            ends = self.uses.ends(step.outputs[0], _elementwise)
            if ends is not None and any(operation == "reduce_sum" for operation, _ in ends):
                return []
        if self.planner.threshold is None:
            self.planner.smooth.add(step.operation)
            return []
        place, threshold = flags.index(True), self.planner.threshold
        # An exact GELU asks erfc(-x / sqrt(2)), which falls.
        direction = -1 if step.operation == "erfc" else 1
        return [self.kink(step, lambda values: direction * values[place] > jnp.asarray(threshold, values[place].dtype))]

    def bound(self, step: Step, flags: list[bool]) -> list[_Kink]:
        """Of `max` and `min`: the operand that depends on the image against the other one."""
        over = 0 if flags[0] else 1
        under = 1 - over
        guard = not flags[under] and self.guards(step, ("rsqrt", "sqrt", "log", "pow", "div"))
        if not _floating(step) or self.infinite(step.inputs[under]) or guard:
            return []
        return [self.kink(step, lambda values: values[over] > values[under])]

    def question(self, step: Step) -> list[_Kink]:
        """A comparison that a selection or a product asks; what is asked for several of them is one kink."""
        asks, number = step.equation.invars[0].aval.dtype, step.inputs[0]
        if step.operation == "select_n" and asks != bool and number in self.dependent:
            # A branch that is chosen image by image.
            count = len(step.inputs) - 1
            return [self.kink(step, lambda values: jax.nn.one_hot(values[0], count, dtype=bool))]
        product = step.operation == "convert_element_type" and jnp.issubdtype(
            step.equation.outvars[0].aval.dtype, jnp.floating
        )
        asked = asks == bool and (product or step.operation == "select_n") and self.compares(number)
        if not asked or number in self.asked:
            return []
        self.asked.add(number)
        return [self.kink(step, lambda values: values[0])]

    def compares(self, number: int) -> bool:
        """Whether a truth value comes from comparing floating-point values by size, one of which depends."""
        maker = self.makers.get(number)
        if maker is None or number not in self.dependent:
            return False
        if maker.operation in _COMPARISONS:
            return _floating(maker)
        return maker.operation in _LOGIC | _REARRANGEMENTS and any(map(self.compares, maker.inputs))

    def infinite(self, number: int) -> bool:
        """Whether a bound is a literal infinity, which nothing passes."""
        maker = self.makers.get(number)
        if maker is not None and maker.operation in _REARRANGEMENTS:
            return self.infinite(maker.inputs[0])
        value = self.constants.get(number)
        return isinstance(value, float | np.generic | np.ndarray) and bool(np.isinf(value).all())

    def guards(self, step: Step, operations: tuple[str, ...]) -> bool:
        """Whether a value only keeps others in their domain: a variance under a root, a divisor, ..."""

        def through(reader: Step, place: int) -> bool:
            shifted = reader.operation in ("add", "mul") and reader.inputs[1 - place] not in self.dependent
            return shifted or reader.operation in _REARRANGEMENTS

        ends = self.uses.ends(step.outputs[0], through)
        return bool(ends) and all(name in operations and (name != "div" or place == 1) for name, place in ends)


def _elementwise(step: Step, place: int) -> bool:
    return step.operation in _REARRANGEMENTS | {"mul", "select_n"}


def _floating(step: Step) -> bool:
    return jnp.issubdtype(step.equation.invars[0].aval.dtype, jnp.floating)


_INNER = {"scan": _Planner.scan, "while": _Planner.while_loop, "cond": _Planner.cond}


# --- running --------------------------------------------------------------------------------------


def _run(program: Program, plan: _Plan, inputs) -> tuple[list[Any], list[Any]]:
    """The outputs of a program, and the bits of its kinks."""
    values = program.constants | dict(zip(program.inputs, inputs, strict=True))
    bits = []
    for index, step in enumerate(program.steps):
        operands = [values[number] for number in step.inputs]
        bits += [kink.bits(operands) for kink in plan.kinks.get(index, [])]
        if index in plan.inner:
            run = _run_scan if step.operation == "scan" else _run_cond
            outputs, found = run(step, plan.inner[index], as_arrays(operands))
            bits += found
        else:
            outputs = step.evaluate(operands)
        values.update(zip(step.outputs, outputs, strict=True))
    return [values[number] for number in program.outputs], bits


def _run_scan(step: Step, plans: list[_Plan], operands):
    """The bits of every turn are one more stacked output."""
    params = step.equation.params
    consts, carried = params["num_consts"], params["num_consts"] + params["num_carry"]

    def turn(carry, x):
        outputs, bits = _run(step.inner[0], plans[0], [*operands[:consts], *carry, *x])
        outputs = as_arrays(outputs)
        return outputs[: carried - consts], (outputs[carried - consts :], bits)

    carry, (stacked, bits) = jax.lax.scan(
        turn, operands[consts:carried], operands[carried:], params["length"], params["reverse"], params["unroll"]
    )
    return [*carry, *stacked], bits


def _run_cond(step: Step, plans: list[_Plan], operands):
    """The bits of branches that are not taken are off."""
    pairs = list(zip(step.inner, plans, strict=True))
    shapes = [jax.eval_shape(lambda *args, pair=pair: _run(*pair, args)[1], *operands[1:]) for pair in pairs]

    def branch(taken):
        def call(*args):
            outputs, found = _run(*pairs[taken], args)
            off = [[jnp.zeros(bits.shape, bool) for bits in others] for others in shapes]
            off[taken] = found
            return as_arrays(outputs), [bits for group in off for bits in group]

        return call

    return jax.lax.switch(operands[0], [branch(taken) for taken in range(len(pairs))], *operands[1:])
