"""Settings of a search, by name."""

from dataclasses import dataclass, replace
from typing import Literal

from tenas_jax.errors import InputError


@dataclass(frozen=True)
class Preset:
    """Everything about a search that is not its data, seed or space.

    Attributes:
        ntk: which kernel's condition number is taken.
        trainability: whether the condition number takes part; expressivity alone decides where it does not.
        ntk_images: of a batch.
        ntk_side: to which images are average-pooled; None leaves them as they are.
        ntk_repeats: batches (and initialisations) a decision.
        ntk_channels: of the first stage. The analytic kernel uses it in the standard parametrisation only.
        batch_stats: of the empirical kernel.
        fan: of the empirical kernel's initialisation.
        expressivity: what is asked of a thin network's activation patterns: how many there are ("linear_regions"), or how
            far they are apart ("hamming_log_determinant").
        region_channels: of the patches: 3 for colour, 1 for one colour channel.
        region_width: channels of the thin network.
        region_cells: of the thin network.
        region_patch: side of a patch.
        region_samples: patches of a batch.
        region_batches: whose patterns are counted together ("linear_regions").
        region_repeats: initialisations a decision.
        rule: how operators are compared, see `pruner`.
        paths: evaluations a decision: architectures drawn, times batches where fewer are left (rule "completion").
        fresh: a batch and an initialisation for every candidate (rule "removal").
        prune_number: operators that go from every edge in a round; None: one of the whole network (rule "completion").
    """

    ntk: Literal["analytic", "empirical"]
    trainability: bool
    ntk_images: int
    ntk_side: int | None
    ntk_repeats: int
    ntk_channels: int
    batch_stats: Literal["frozen", "coupled"]
    fan: Literal["fan_in", "fan_out"]
    expressivity: Literal["linear_regions", "hamming_log_determinant"]
    region_channels: Literal[1, 3]
    region_width: int
    region_cells: int
    region_patch: int
    region_samples: int
    region_batches: int
    region_repeats: int
    rule: Literal["completion", "removal"]
    paths: int
    fresh: bool
    prune_number: int | None


# The released code's settings (TE-NAS, commit 9df78ff, NAS-Bench-201).
_RELEASED = Preset(
    ntk="empirical",
    trainability=True,
    ntk_images=72,
    ntk_side=None,
    ntk_repeats=3,
    ntk_channels=3,
    batch_stats="coupled",
    fan="fan_out",
    expressivity="linear_regions",
    region_channels=1,
    region_width=1,
    region_cells=1,
    region_patch=3,
    region_samples=1000,
    region_batches=3,
    region_repeats=3,
    rule="removal",
    paths=0,
    fresh=True,
    prune_number=1,
)

PRESETS = {
    "default": Preset(
        ntk="analytic",
        trainability=True,
        ntk_images=8,
        ntk_side=4,
        ntk_repeats=1,
        ntk_channels=16,
        batch_stats="frozen",
        fan="fan_in",
        expressivity="linear_regions",
        region_channels=3,
        region_width=3,
        region_cells=1,
        region_patch=3,
        region_samples=1000,
        region_batches=1,
        region_repeats=1,
        rule="completion",
        paths=96,
        fresh=False,
        prune_number=None,
    ),
    # The paper's text: batch 32, 5000 samples; the rest as released.
    "paper": replace(_RELEASED, ntk_images=32, region_batches=5),
    "released": _RELEASED,
}

# The released code's settings for DARTS.
_RELEASED_DARTS = replace(_RELEASED, ntk_images=14, ntk_channels=1, region_cells=2, prune_number=3)

DARTS_PRESETS = {
    "default": replace(
        _RELEASED_DARTS,
        # On random genotypes condition numbers say next to nothing, and the sum of both ranks less than expressivity
        # alone (docs/darts.md). `--ntk` takes them in.
        trainability=False,
        # The analytic kernel has no closed form for a maximum, and most genotypes hold one.
        ntk_side=8,
        ntk_channels=4,
        batch_stats="frozen",
        fan="fan_in",
        # Six cells lose what a pooling loses of four pixels; one channel keeps little beside it.
        expressivity="hamming_log_determinant",
        region_channels=3,
        region_cells=6,
        region_patch=2,
        region_samples=256,
        region_batches=1,
        region_repeats=8,
        rule="completion",
        paths=240,
        fresh=False,
    ),
    "paper": replace(_RELEASED_DARTS, ntk_images=32, region_batches=5),
    "released": _RELEASED_DARTS,
}

_OF_FAMILY = {"nasbench201": PRESETS, "darts": DARTS_PRESETS}

_ANALYTIC = {"ntk": "analytic", "ntk_images": 8, "ntk_side": 4, "ntk_channels": 16}
# Small images rank as well as large ones and cost a fraction; frozen statistics need per-example gradients only.
_EMPIRICAL = {"ntk": "empirical", "ntk_images": 32, "ntk_side": 8, "ntk_channels": 3, "batch_stats": "frozen"}


def preset(
    name: str,
    ntk: str | None = None,
    *,
    space: str = "nasbench201",
    dataset: str | None = None,
    prune_number: int | None = None,
) -> Preset:
    """A preset, with the other kernel or another prune number where one is asked for.

    Args:
        name: one of `PRESETS`.
        ntk: "analytic", "empirical", or None for the preset's own; naming one takes the condition number in.
        space: the search space's name; for a space of one's own its family, see `space.SearchSpace`.
        dataset: the data set's name; ImageNet's two have settings of their own on DARTS.
        prune_number: operators that go from every edge in a round; None for the preset's own.

    Raises:
        InputError: for an unknown preset, kernel or space, or a prune number below 1.
    """
    if name not in PRESETS:
        raise InputError(f"the preset {name!r} is unknown; choose one of {', '.join(PRESETS)}.")
    if ntk not in (None, "analytic", "empirical"):
        raise InputError(f"the kernel {ntk!r} is unknown; choose --ntk analytic or --ntk empirical.")
    if space not in _OF_FAMILY:
        raise InputError(f"the search space {space!r} is unknown; choose one of {', '.join(_OF_FAMILY)}.")
    if prune_number is not None and prune_number < 1:
        raise InputError(f"--prune-number must be a whole number from 1; it is {prune_number}.")
    chosen = _OF_FAMILY[space][name]
    if space == "darts" and dataset in ("imagenet", "imagenet16-120"):
        chosen = replace(chosen, prune_number=2, ntk_images=24 if name == "released" else chosen.ntk_images)
    if ntk is not None:
        chosen = replace(chosen, trainability=True)
    if ntk not in (None, chosen.ntk):
        chosen = replace(chosen, **(_ANALYTIC if ntk == "analytic" else _EMPIRICAL))
    return chosen if prune_number is None else replace(chosen, prune_number=prune_number)
