"""The kernel that can read a space: the analytic one, or in its place the empirical one, and a line that says so."""

from typing import Literal

from tenas_jax.command_line import say
from tenas_jax.networks.cost import check_operators
from tenas_jax.ntk.analytic import analytic_obstacle
from tenas_jax.spaces.space import SearchSpace


def readable_kernel(space: SearchSpace, ntk: Literal["analytic", "empirical"]) -> Literal["analytic", "empirical"]:
    """The kernel that is asked for, or the empirical one where an operator has no analytic NTK.

    Args:
        space: the search space.
        ntk: the kernel that is asked for.

    Raises:
        InputError: for an operator that fails, or makes something of another shape than an edge's.
    """
    check_operators(space)
    obstacle = analytic_obstacle(space) if ntk == "analytic" else None
    if obstacle is None:
        return ntk
    what = f"the operator {obstacle.name!r}" if obstacle.name in space.operators else "the network"
    say(f"the analytic NTK cannot read {what} ({obstacle.reason}); the empirical NTK is taken instead")
    return "empirical"
