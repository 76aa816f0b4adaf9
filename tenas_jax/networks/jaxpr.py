"""A JAX function as a straight line of steps: its jaxpr with the calls in it written out.

Whoever wants to know what a function computes reads steps one after the other, whatever `jit`, `vmap`, `jax.checkpoint`
or custom derivatives the function was wrapped in. Only loops and branches keep programs inside a step.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

# The names of primitives that only call a function; both spellings of several JAX releases.
PLAIN_CALLS = frozenset({"jit", "pjit", "closed_call", "core_call"})
CALLS = PLAIN_CALLS | {
    *("checkpoint", "remat", "remat2"),
    *("custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr"),
}
_BODIES = {"scan": ("jaxpr",), "while": ("cond_jaxpr", "body_jaxpr"), "cond": ("branches",)}


@dataclass(frozen=True)
class Step:
    """One equation, its operands and results as numbers.

    Attributes:
        equation: as JAX wrote it; its variables mean nothing outside their own jaxpr, the numbers below do.
        operation: the primitive's name, or the function's name of a call that was not written out.
        inputs: numbers of the operands.
        outputs: numbers of the results.
        scope: names of modules, scopes and functions around it, from the outside in.
        inner: programs inside: the body of a scan, condition and body of a while, the branches of a cond.
    """

    equation: JaxprEqn
    operation: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    scope: tuple[str, ...]
    inner: tuple["Program", ...] = ()

    def evaluate(self, operands: Sequence[Any]) -> list[Any]:
        """The results.

        Args:
            operands: one value an input.
        """
        primitive = self.equation.primitive
        # Older releases of JAX return functions beside the parameters.
        bound = primitive.get_bind_params(self.equation.params)
        functions, params = bound if isinstance(bound, tuple) else ((), bound)
        results = primitive.bind(*functions, *operands, **params)
        return list(results) if primitive.multiple_results else [results]


@dataclass(frozen=True)
class Program:
    """Steps in the order in which they are computed.

    Attributes:
        steps: those that an output needs.
        constants: values known beforehand, by number.
        inputs: numbers of the arguments.
        outputs: numbers of the results.
    """

    steps: tuple[Step, ...]
    constants: dict[int, Any]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def _callee(equation: JaxprEqn, calls: frozenset[str]) -> ClosedJaxpr | None:
    """What an equation calls, where it does nothing but call."""
    if equation.primitive.name not in calls:
        return None
    (body,) = [value for value in equation.params.values() if isinstance(value, ClosedJaxpr | Jaxpr)]
    return body if isinstance(body, ClosedJaxpr) else ClosedJaxpr(body, ())


def bodies(equation: JaxprEqn) -> Iterator[ClosedJaxpr]:
    """Every jaxpr among the parameters of an equation.

    Args:
        equation: of any primitive.

    Returns:
        An iterator over them.
    """
    for value in equation.params.values():
        for item in value if isinstance(value, tuple | list) else (value,):
            if isinstance(item, ClosedJaxpr | Jaxpr):
                yield item if isinstance(item, ClosedJaxpr) else ClosedJaxpr(item, ())


class _Writer:
    def __init__(self, whole: frozenset[str], calls: frozenset[str]):
        self.whole, self.calls = whole, calls
        self.steps: list[Step] = []
        self.constants: dict[int, Any] = {}
        self.numbers = 0

    def new(self) -> int:
        self.numbers += 1
        return self.numbers

    def constant(self, value) -> int:
        number = self.new()
        self.constants[number] = value
        return number

    def write(self, closed: ClosedJaxpr, inputs: Sequence[int], scope: tuple[str, ...]) -> list[int]:
        jaxpr = closed.jaxpr
        known: dict[Any, int] = dict(zip(jaxpr.constvars, map(self.constant, closed.consts), strict=True))
        known.update(zip(jaxpr.invars, inputs, strict=True))

        def read(atom):
            return self.constant(atom.val) if isinstance(atom, Literal) else known[atom]

        for equation in jaxpr.eqns:
            operands = tuple(map(read, equation.invars))
            here = scope + tuple(part for part in str(equation.source_info.name_stack).split("/") if part)
            callee, name = _callee(equation, self.calls), str(equation.params.get("name", equation.primitive.name))
            if callee is not None and name not in self.whole:
                # A custom derivative of a compiled function names it twice.
                within = here if name in here[-1:] or name == equation.primitive.name else (*here, name)
                results = self.write(callee, operands, within)
            else:
                results = [self.new() for _ in equation.outvars]
                operation = equation.primitive.name if callee is None else name
                inner = tuple(program_of(body, self.whole, self.calls) for body in _inner(equation))
                self.steps.append(Step(equation, operation, operands, tuple(results), here, inner))
            known.update(zip(equation.outvars, results, strict=True))
        return [read(atom) for atom in jaxpr.outvars]


def _inner(equation: JaxprEqn) -> list[ClosedJaxpr]:
    found = [equation.params[name] for name in _BODIES.get(equation.primitive.name, ())]
    return [body for value in found for body in (value if isinstance(value, tuple) else (value,))]


def program_of(closed: ClosedJaxpr, whole: frozenset[str] = frozenset(), calls: frozenset[str] = CALLS) -> Program:
    """Writes a jaxpr out as a program.

    Args:
        closed: from `jax.make_jaxpr`.
        whole: names of functions whose calls stay one step.
        calls: names of the primitives that are written out. `PLAIN_CALLS` leaves custom derivatives and checkpoints, which
            matter to whoever differentiates the steps, as one step each.

    Returns:
        The program, without the steps that no output needs.
    """
    writer = _Writer(whole, calls)
    inputs = tuple(writer.new() for _ in closed.jaxpr.invars)
    outputs = tuple(writer.write(closed, inputs, ()))
    needed, kept = set(outputs), []
    for step in reversed(writer.steps):
        if needed & set(step.outputs) or step.equation.effects:
            needed |= set(step.inputs)
            kept.append(step)
    return Program(tuple(reversed(kept)), writer.constants, inputs, outputs)


def as_arrays(values: Sequence[Any]) -> list[Any]:
    """Literals as arrays, for a loop or a branch that traces its operands.

    Args:
        values: arrays and literals.
    """
    return [value if hasattr(value, "aval") else jnp.asarray(value) for value in values]
