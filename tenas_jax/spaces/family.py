"""What spaces with cells of one sort have in common: how cells are stacked, and how they are scored."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tenas_jax.spaces.preset import Preset
from tenas_jax.spaces.score import Score
from tenas_jax.spaces.skeleton import Purpose, Skeleton


@dataclass(frozen=True)
class Family:
    """What a space takes where it says nothing else.

    Attributes:
        network: how cells are stacked, `network(read, space, weights, images, skeleton, cell)`.
        reductions: how often the network of a skeleton halves the sides of its images.
        strides: of an edge.
        skeletons: sizes of networks by purpose.
        concatenates: whether a cell's output is all of its inner nodes, and not the last one alone.
        takes_any_channels: whether convolutions come before the edges of the first cell even without a stem, as in DARTS,
            so that images may have any number of channels.
        scores: what an architecture can be scored by, by name and costs aside, for the skeletons of "ntk" and "regions".
        presets: settings of a search by name.
        imagenet_presets: where they are others on ImageNet.
        default_scores: what a ranking goes by.
        has_closed_form: whether the analytic kernel of its networks is known to be there; where it is not, they are read to
            find out.
        side: of the images that costs are counted for.
        costs_add_up: whether a network costs what its operators cost, each counted on its edge whatever the others are.
        counts: costs and yardsticks by name, `counts(space, masks, skeleton, side)`, where the network that is trained is
            another one than the network that is scored; None where they are read from that.
        counts_bias: whether the linear layer's bias counts among the multiply-adds, as in the tables of NAS-Bench-201.
        trained: how cells are stacked in the networks that are trained, for "small" images and where it differs for
            "imagenet"; by default as in `network`.
    """

    network: Callable[..., Any]
    reductions: Callable[[Skeleton], int]
    strides: tuple[int, ...]
    skeletons: Mapping[Purpose, Skeleton]
    concatenates: bool
    takes_any_channels: bool
    scores: Callable[[Skeleton, Skeleton], Mapping[str, Score]]
    presets: Mapping[str, Preset]
    imagenet_presets: Mapping[str, Preset]
    default_scores: tuple[str, ...]
    has_closed_form: bool = False
    side: int = 32
    costs_add_up: bool = True
    counts: Callable[..., Mapping[str, Any]] | None = None
    counts_bias: bool = True
    trained: Mapping[str, Callable[..., Any]] = field(default_factory=dict)

    @property
    def has_auxiliary_head(self) -> bool:
        """Whether its networks are those of DARTS, which are trained on ImageNet too and have an auxiliary head."""
        return "imagenet" in self.trained
