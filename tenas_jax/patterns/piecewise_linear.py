"""The breakpoints of a JAX function: where a value that depends on the images passes a point at which the slope changes.

What counts as a breakpoint:
    - `max` and `min`: the ReLU and all that is written with it, `relu6`, `clip` and `hard_tanh` (two each), maxout;
    - `abs` and `sign`;
    - a comparison of floating-point values that a selection or a product asks: `jnp.where(x > 0, x, 0.01 * x)`;
    - a `lax.cond` or `lax.switch` whose branch depends on the image.

What does not count: max pooling and `jnp.max` over an axis, since patterns in the literature are of neurons only; what
does not depend on the images; a bound of infinity; a lower bound that guards a root, a logarithm or a divisor (the
variance of a batch, layer or group norm); the exponentials of a softmax; products of features (attention, gates).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tenas_jax.errors import InputError
from tenas_jax.networks.jaxpr import Program, Step, bodies, program_of
from tenas_jax.patterns.breakpoints import Breakpoint, Plan, observe

# Written by JAX with breakpoints inside, but smooth as a whole, or better known by these names than by what is inside.
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


class Observer(NamedTuple):
    """The breakpoints of a function, and how to see on which side of them images are.

    Attributes:
        breakpoints: in their order.
        run: `run(fixed, images)` returns an array of bits for each.
        held_bytes: of the arrays that the function closed over.
    """

    breakpoints: list[Breakpoint]
    run: Callable[[Any, Any], list[Any]]
    held_bytes: int


def observer(fn, fixed, images, threshold) -> Observer:
    """Finds the breakpoints of a function.

    Args:
        fn: `fn(fixed, images)`, any function that JAX can trace.
        fixed: a list of arrays that do not depend on the images, such as weights.
        images: an array or a `jax.ShapeDtypeStruct`.
        threshold: for the arguments of smooth activations; None refuses them.

    Returns:
        The breakpoints, and a function of such arrays and images of those shapes.

    Raises:
        InputError: for a smooth activation without a threshold, and for a breakpoint where its bits cannot be collected.
    """
    closed = jax.make_jaxpr(fn)(fixed, images)
    program = program_of(closed, _SMOOTH_FUNCTIONS)
    planner = _Planner(threshold)
    plan = planner.plan(program, [False] * len(fixed) + [True])
    if planner.smooth:
        raise InputError(
            f"`fn` must be piecewise linear; it has smooth activations: {', '.join(sorted(planner.smooth))}. "
            "Pass `threshold=0.0` to take the sign of their arguments as the bits."
        )
    held = sum(getattr(value, "nbytes", 0) for value in closed.consts)
    return Observer(plan.all(), lambda fixed, images: observe(program, plan, [*fixed, images])[1], held)


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
    """Finds the breakpoints of a program; collects the names of smooth activations that have no threshold."""

    def __init__(self, threshold: float | None):
        self.threshold = threshold
        self.smooth: set[str] = set()

    def plan(self, program: Program, depends: list[bool]) -> Plan:
        """Which inputs depend on the images decides which steps do."""
        dependent = {number for number, does in zip(program.inputs, depends, strict=True) if does}
        breakpoints, inner = {}, {}
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
            found = rules.breakpoints(step, flags)
            if found:
                breakpoints[index] = found
            dependent |= {number for number, does in zip(step.outputs, outputs, strict=True) if does}
        return Plan(breakpoints, inner, [number in dependent for number in program.outputs])

    def refuse_inside(self, step: Step) -> None:
        """A primitive with a function inside that is not understood may hide activations."""
        for body in bodies(step.equation):
            if self.plan(program_of(body, _SMOOTH_FUNCTIONS), [True] * len(body.jaxpr.invars)).all():
                raise InputError(
                    f"`fn` must have its activations outside of `{step.operation}`, which cannot be looked into. "
                    "Use jit, vmap, checkpoint, scan, cond or custom derivatives only."
                )

    def scan(self, step: Step, flags: list[bool]) -> tuple[list[Plan], list[bool]]:
        """A carry that depends after one turn depends in the next."""
        consts, carry = step.equation.params["num_consts"], step.equation.params["num_carry"]
        flags = list(flags)
        while True:
            plan = self.plan(step.inner[0], flags)
            after = [a or b for a, b in zip(flags[consts : consts + carry], plan.outputs, strict=False)]
            if after == flags[consts : consts + carry]:
                return [plan], [*after, *plan.outputs[carry:]]
            flags[consts : consts + carry] = after

    def while_loop(self, step: Step, flags: list[bool]) -> tuple[list[Plan], list[bool]]:
        """Bits of an unknown number of turns have no shape."""
        plan = self.plan(step.inner[1], [any(flags)] * len(step.inner[1].inputs))
        if plan.all():
            raise InputError(
                f"`fn` must know beforehand how often an activation is computed; `lax.while_loop` has "
                f"{plan.all()[0].operation!r} inside. Use `lax.scan`, or `lax.fori_loop` with fixed bounds."
            )
        return [], [any(flags)] * len(step.outputs)

    def cond(self, step: Step, flags: list[bool]) -> tuple[list[Plan], list[bool]]:
        """An output depends where it does in any branch, or where the choice does."""
        plans = [self.plan(branch, flags[1:]) for branch in step.inner]
        outputs = [flags[0] or any(does) for does in zip(*(plan.outputs for plan in plans), strict=True)]
        return plans, outputs


class _Rules:
    """What counts as a breakpoint, for the steps of one program."""

    def __init__(self, program: Program, dependent: set[int], planner: _Planner):
        self.constants, self.dependent, self.planner = program.constants, dependent, planner
        self.uses = _Uses(program)
        self.makers = {number: step for step in program.steps for number in step.outputs}
        self.asked: set[int] = set()

    def breakpoints(self, step: Step, flags: list[bool]) -> list[Breakpoint]:
        """Those of one step that depends on the images."""
        if step.operation == "cond" and flags[0]:
            count = len(step.inner)
            return [self.breakpoint(step, lambda values: jax.nn.one_hot(values[0], count, dtype=bool))]
        if step.operation in _SMOOTH:
            return self.smooth(step, flags)
        if step.operation in ("max", "min"):
            return self.bound(step, flags)
        if step.operation == "clamp":
            sides = [side for side in (0, 2) if not self.infinite(step.inputs[side])]
            return [self.breakpoint(step, lambda values, side=side: values[1] > values[side]) for side in sides]
        if step.operation in ("abs", "sign") and _floating(step) and not self.guards(step, ("log",)):
            return [self.breakpoint(step, lambda values: values[0] > 0)]
        return self.question(step)

    def breakpoint(self, step: Step, bits: Callable[[list[Any]], Any]) -> Breakpoint:
        return Breakpoint("/".join(step.scope) or step.operation, step.operation, bits)

    def smooth(self, step: Step, flags: list[bool]) -> list[Breakpoint]:
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
        return [
            self.breakpoint(
                step, lambda values: direction * values[place] > jnp.asarray(threshold, values[place].dtype)
            )
        ]

    def bound(self, step: Step, flags: list[bool]) -> list[Breakpoint]:
        """Of `max` and `min`: the operand that depends on the image against the other one."""
        over = 0 if flags[0] else 1
        under = 1 - over
        guard = not flags[under] and self.guards(step, ("rsqrt", "sqrt", "log", "pow", "div"))
        if not _floating(step) or self.infinite(step.inputs[under]) or guard:
            return []
        return [self.breakpoint(step, lambda values: values[over] > values[under])]

    def question(self, step: Step) -> list[Breakpoint]:
        """A comparison that a selection or a product asks; what is asked for several of them is one breakpoint."""
        is_bool, number = _dtype(step.equation.invars[0]) == jnp.bool_, step.inputs[0]
        if step.operation == "select_n" and not is_bool and number in self.dependent:
            # A branch that is chosen image by image.
            count = len(step.inputs) - 1
            return [self.breakpoint(step, lambda values: jax.nn.one_hot(values[0], count, dtype=bool))]
        product = step.operation == "convert_element_type" and jnp.issubdtype(
            _dtype(step.equation.outvars[0]), jnp.floating
        )
        asked = is_bool and (product or step.operation == "select_n") and self.compares(number)
        if not asked or number in self.asked:
            return []
        self.asked.add(number)
        return [self.breakpoint(step, lambda values: values[0])]

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


def _dtype(value: Any) -> Any:
    return value.aval.dtype


def _floating(step: Step) -> bool:
    return jnp.issubdtype(_dtype(step.equation.invars[0]), jnp.floating)


_INNER = {"scan": _Planner.scan, "while": _Planner.while_loop, "cond": _Planner.cond}
