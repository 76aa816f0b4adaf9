"""Settings of a search, as data."""

from dataclasses import dataclass
from typing import Literal


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
