"""The settings of a search: a space's presets, with a kernel or another prune number where one is asked for."""

from dataclasses import replace

from tenas_jax.errors import InputError
from tenas_jax.spaces.nasbench201 import NAS_BENCH_201
from tenas_jax.spaces.preset import Preset
from tenas_jax.spaces.score import Kernel
from tenas_jax.spaces.space import SearchSpace

PRESETS = ("default", "paper", "released")
IMAGENET = ("imagenet", "imagenet16-120")  # data sets with other presets


def check_kernel(ntk: str | None) -> None:
    """Refuses what is no kernel.

    Args:
        ntk: "analytic", "empirical" or None.

    Raises:
        InputError: for anything else.
    """
    if ntk not in (None, "analytic", "empirical"):
        raise InputError(f"the kernel {ntk!r} is unknown; choose --ntk analytic or --ntk empirical.")


def preset(
    name: str,
    ntk: str | None = None,
    *,
    space: SearchSpace = NAS_BENCH_201,
    dataset: str | None = None,
    prune_number: int | None = None,
) -> Preset:
    """A preset, with a kernel's score or another prune number where one is asked for.

    Args:
        name: one of `PRESETS`.
        ntk: "analytic", "empirical" or None; naming one takes the condition number in, where no kernel takes part.
        space: the search space.
        dataset: the data set's name; ImageNet's two may have other presets.
        prune_number: operators that go from every edge in a round; None for that of the preset.

    Raises:
        InputError: for an unknown preset or kernel, or a prune number below 1.
    """
    if name not in PRESETS:
        raise InputError(f"the preset {name!r} is unknown; choose one of {', '.join(PRESETS)}.")
    check_kernel(ntk)
    if prune_number is not None and prune_number < 1:
        raise InputError(f"--prune-number must be a whole number from 1; it is {prune_number}.")
    known = space.family.imagenet_presets if dataset in IMAGENET else space.family.presets
    if name not in known:
        raise InputError(f"{space.name} has no preset {name!r}: TE-NAS searched cells; take {', '.join(known)}.")
    chosen = known[name]
    if ntk is not None and not any(isinstance(space.scores[name].work, Kernel) for name in chosen.scores):
        chosen = replace(chosen, scores=("condition_number", *chosen.scores))
    return chosen if prune_number is None else replace(chosen, prune_number=prune_number)
