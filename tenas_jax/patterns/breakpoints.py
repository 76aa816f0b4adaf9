"""Programs with their breakpoints named, and how they are run: outputs, and on which side of each breakpoint images are."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from tenas_jax.networks.jaxpr import Program, Step, as_arrays


class Breakpoint(NamedTuple):
    """A source of bits.

    Attributes:
        name: what it is called.
        operation: the primitive.
        bits: of the operands of its step.
    """

    name: str
    operation: str
    bits: Callable[[list[Any]], Any]


class Plan(NamedTuple):
    """What to observe in a program.

    Attributes:
        breakpoints: by step.
        inner: plans of inner programs by step.
        outputs: which of the program's outputs depend on the images.
    """

    breakpoints: dict[int, list[Breakpoint]]
    inner: dict[int, list["Plan"]]
    outputs: list[bool]

    def all(self) -> list[Breakpoint]:
        """In the order in which `observe` returns their bits."""
        found = []
        for step in sorted(self.breakpoints.keys() | self.inner.keys()):
            found += self.breakpoints.get(step, [])
            for plan in self.inner.get(step, []):
                found += plan.all()
        return found


def observe(program: Program, plan: Plan, inputs) -> tuple[list[Any], list[Any]]:
    """Runs a program.

    Args:
        program: from `jaxpr.program_of`.
        plan: what to observe in it.
        inputs: of the program.

    Returns:
        Its outputs, and the bits of its breakpoints in the order of `Plan.all`.
    """
    values = program.constants | dict(zip(program.inputs, inputs, strict=True))
    bits = []
    for index, step in enumerate(program.steps):
        operands = [values[number] for number in step.inputs]
        bits += [breakpoint.bits(operands) for breakpoint in plan.breakpoints.get(index, [])]
        if index in plan.inner:
            run = _run_scan if step.operation == "scan" else _run_cond
            outputs, found = run(step, plan.inner[index], as_arrays(operands))
            bits += found
        else:
            outputs = step.evaluate(operands)
        values.update(zip(step.outputs, outputs, strict=True))
    return [values[number] for number in program.outputs], bits


def _run_scan(step: Step, plans: list[Plan], operands):
    """The bits of every turn are one more stacked output."""
    params = step.equation.params
    consts, carried = params["num_consts"], params["num_consts"] + params["num_carry"]

    def turn(carry, x):
        outputs, bits = observe(step.inner[0], plans[0], [*operands[:consts], *carry, *x])
        outputs = as_arrays(outputs)
        return outputs[: carried - consts], (outputs[carried - consts :], bits)

    carry, (stacked, bits) = jax.lax.scan(
        turn, operands[consts:carried], operands[carried:], params["length"], params["reverse"], params["unroll"]
    )
    return [*carry, *stacked], bits


def _run_cond(step: Step, plans: list[Plan], operands):
    """The bits of branches that are not taken are off."""

    def run(number, arguments):
        return observe(step.inner[number], plans[number], arguments)

    numbers = range(len(plans))
    shapes = [jax.eval_shape(lambda *arguments, n=n: run(n, arguments)[1], *operands[1:]) for n in numbers]

    def branch(taken):
        def call(*arguments):
            outputs, found = run(taken, arguments)
            off = [[jnp.zeros(bits.shape, bool) for bits in others] for others in shapes]
            off[taken] = found
            return as_arrays(outputs), [bits for group in off for bits in group]

        return call

    return jax.lax.switch(operands[0], [branch(n) for n in numbers], *operands[1:])
