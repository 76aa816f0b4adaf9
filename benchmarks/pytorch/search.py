"""TE-NAS's released protocol in PyTorch: the pruning search by two indicators; the yardstick of the benchmarks.

Chen, Gong and Wang, "Neural Architecture Search on ImageNet in Four GPU Hours" (ICLR 2021). Written to do what the released
code does, at its cost, in float32:

- the NTK by one backward pass of the whole batch an image, through the batch statistics;
- linear regions by comparing all pairs of activation patterns in one matrix product;
- three repeats a candidate, each with a fresh batch and a fresh initialisation that the candidate and the supernet share;
- pruned operators, whose softmax weight is exactly 0, are not run.

It departs from that code only where this saves time: networks are initialised anew instead of rebuilt, one network with
two masks takes the place of a network and its copy, no gradients are taken for the mask, no running statistics are kept.
It keeps the fault that a singular kernel's condition number may come out negative in float32, and then ranks first. The
last phase of the DARTS search, which keeps two edges a node, is left out: here it ends with one operator on every edge.
"""

# PyTorch is an extra that the type checker may have to do without.
# pyright: reportMissingImports=false

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pytorch.indicators import condition_number, linear_regions, ntk
from pytorch.networks import MASK_SHAPES, OPERATORS, Space, initialise, ntk_network, region_network

NTK_BATCH = {"nasbench201": 72, "darts": 14}
PRUNE_NUMBER = {"nasbench201": 1, "darts": 3}  # operators that go from an edge in one round
REPEATS = 3
REGION_BATCH, REGION_BATCHES = 1000, 3
DECIMALS = 3
CIFAR10_MEAN = np.array([125.3, 123.0, 113.9], np.float32)
CIFAR10_DEVIATION = np.array([63.0, 62.1, 66.7], np.float32)

Operator = tuple[int, int, int]  # cell, edge, operator


class Candidate(NamedTuple):
    """What the removal of one operator did.

    Attributes:
        operator: (cell, edge, operator).
        condition_number: relative change of the condition number, rounded, mean of the repeats; larger is better.
        linear_regions: the same of the number of linear regions; smaller is better.
        condition_numbers: (repeats, 2): of the supernet, and without the operator.
        region_counts: (repeats, 2): the same.
        seconds: wall time.
    """

    operator: Operator
    condition_number: float
    linear_regions: float
    condition_numbers: list[list[float]]
    region_counts: list[list[int]]
    seconds: float


class Result(NamedTuple):
    """A search, or the part of one that was asked for.

    Attributes:
        mask: bool (cells, edges, operators), what is alive at the end.
        rounds: the candidates of every round.
        finished: whether one operator is left on every edge.
        seconds: wall time.
    """

    mask: np.ndarray
    rounds: list[list[Candidate]]
    finished: bool
    seconds: float


def supernet(space: Space) -> np.ndarray:
    """The mask in which everything but `none` is alive, bool (cells, edges, operators)."""
    mask = np.ones(MASK_SHAPES[space], bool)
    mask[..., OPERATORS[space].index("none")] = False
    return mask


def candidates(mask: np.ndarray) -> list[Operator]:
    """(cell, edge, operator) of all that is alive on edges with a choice left, in the order of the mask."""
    rows = np.argwhere(mask & (mask.sum(-1, keepdims=True) > 1))
    return [(int(cell), int(edge), int(operator)) for cell, edge, operator in rows]


def without(mask: np.ndarray, operator: Operator) -> np.ndarray:
    """The mask with one operator pruned."""
    pruned = mask.copy()
    pruned[operator] = False
    return pruned


def draw_images(images: np.ndarray, count: int, rng: np.random.Generator) -> Tensor:
    """A batch for the NTK: crops after zero padding by 4, mirrored at random, normalised.

    Args:
        images: uint8 (N, h, w, 3).
        count: the batch's size.
        rng: the source of randomness.

    Returns:
        float32 (count, 3, h, w).
    """
    chosen = images[rng.choice(len(images), count, replace=False)]
    height, width = chosen.shape[1:3]
    padded = np.pad(chosen, ((0, 0), (4, 4), (4, 4), (0, 0)))
    crops = np.stack(
        [
            image[y : y + height, x : x + width]
            for image, (y, x) in zip(padded, rng.integers(9, size=(count, 2)), strict=True)
        ]
    )
    mirrored = np.where(rng.random((count, 1, 1, 1)) < 0.5, crops[:, :, ::-1], crops)
    return _normalised(mirrored)


def draw_patches(images: np.ndarray, count: int, rng: np.random.Generator) -> Tensor:
    """Patches for the linear regions: a random 3x3 crop and one random colour channel of each of `count` images.

    Args:
        images: uint8 (N, h, w, 3); drawn with replacement where there are fewer than `count`.
        count: how many patches.
        rng: the source of randomness.

    Returns:
        float32 (count, 1, 3, 3), normalised.
    """
    chosen = rng.choice(len(images), count, replace=len(images) < count)
    rows = rng.integers(images.shape[1] - 2, size=(count, 1, 1)) + np.arange(3)[:, None]
    columns = rng.integers(images.shape[2] - 2, size=(count, 1, 1)) + np.arange(3)
    crops = _normalised(images[chosen[:, None, None], rows, columns])
    channels = torch.as_tensor(rng.integers(3, size=count))
    return crops[torch.arange(count), channels][:, None]


def _normalised(images: np.ndarray) -> Tensor:
    """uint8 (n, h, w, 3) to float32 (n, 3, h, w) by CIFAR-10's mean and deviation."""
    scaled = (images.astype(np.float32) - CIFAR10_MEAN) / CIFAR10_DEVIATION
    return torch.as_tensor(scaled).permute(0, 3, 1, 2).contiguous()


class Scorer:
    """Both indicators of a candidate and of the supernet, with networks that are initialised anew every time."""

    def __init__(self, space: Space, images: np.ndarray, seed: int):
        """Draws everything from `seed`.

        Args:
            space: the search space.
            images: uint8 (N, h, w, 3).
            seed: of images and weights.
        """
        self._batch = NTK_BATCH[space]
        self._images = images
        self._seed = seed
        self._network = ntk_network(space)
        self._thin = region_network(space)
        self.reseed(0, 0)

    def reseed(self, round_number: int, number: int) -> None:
        """Starts the random numbers of a candidate, so that it comes out alike wherever a search begins or goes on.

        Args:
            round_number: from 0.
            number: of the candidate among those of its round.
        """
        self._rng = np.random.default_rng([self._seed, round_number, number])
        self._weights = torch.Generator().manual_seed(int(self._rng.integers(2**62)))

    def condition_numbers(self, *masks: np.ndarray) -> list[float]:
        """The condition number of every mask, on one fresh batch and initialisation."""
        initialise(self._network, "fan_out", self._weights)
        images = draw_images(self._images, self._batch, self._rng)
        return [condition_number(ntk(self._network, images, torch.as_tensor(mask))) for mask in masks]

    def linear_regions(self, *masks: np.ndarray) -> list[int]:
        """The number of linear regions of every mask, on fresh patches and one fresh initialisation."""
        initialise(self._thin, "fan_in", self._weights)
        patches = draw_patches(self._images, REGION_BATCH * REGION_BATCHES, self._rng)
        return [linear_regions(self._thin, patches, torch.as_tensor(mask), batch=REGION_BATCH) for mask in masks]

    def candidate(self, mask: np.ndarray, operator: Operator) -> Candidate:
        """What pruning `operator` from `mask` changes."""
        start = time.perf_counter()
        pruned = without(mask, operator)
        kappas = [self.condition_numbers(mask, pruned) for _ in range(REPEATS)]
        regions = [self.linear_regions(mask, pruned) for _ in range(REPEATS)]
        return Candidate(
            operator,
            float(np.mean([relative_change(*kappa) for kappa in kappas])),
            float(np.mean([relative_change(*count) for count in regions])),
            kappas,
            regions,
            time.perf_counter() - start,
        )


def relative_change(before: float, after: float) -> float:
    """(before - after) / before, rounded to three decimals: positive where pruning lowers the score."""
    return round((before - after) / before, DECIMALS)


def ranked(changes: list[float]) -> list[tuple[int, int]]:
    """Orders candidates by their change, smallest first, and gives them dense ranks, as the released code does.

    The order is that of the changes to three significant figures and is stable; two neighbours share a rank only
    where their changes are exactly equal.

    Args:
        changes: one a candidate.

    Returns:
        (position in `changes`, rank), in order.
    """
    order = sorted(range(len(changes)), key=lambda i: float(f"{changes[i]:.2e}"))
    ranks, rank = [], 0
    for place, i in enumerate(order):
        rank += place > 0 and changes[i] != changes[order[place - 1]]
        ranks.append((i, int(rank)))
    return ranks


def prune(mask: np.ndarray, scored: list[Candidate], number: int) -> np.ndarray:
    """Prunes the operators with the best sums of ranks, `number` an edge, and leaves one on every edge.

    Equal sums go by the condition number's order.

    Args:
        mask: bool (cells, edges, operators).
        scored: all candidates of the mask.
        number: operators that go from an edge.
    """
    by_kappa = ranked([-c.condition_number for c in scored])
    region_rank = dict(ranked([c.linear_regions for c in scored]))
    pruned = mask.copy()
    for i, _ in sorted(by_kappa, key=lambda item: item[1] + region_rank[item[0]]):
        edge = scored[i].operator[:2]
        gone = mask[edge].sum() - pruned[edge].sum()
        if gone < number and pruned[edge].sum() > 1:
            pruned[scored[i].operator] = False
    return pruned


def search(
    images: np.ndarray,
    seed: int,
    *,
    space: Space = "nasbench201",
    limit_rounds: int | None = None,
    limit_candidates: int | None = None,
    finished: Sequence[Candidate] = (),
    on_candidate: Callable[[Candidate], None] = lambda candidate: None,
) -> Result:
    """The pruning search with the released settings, or a part of it.

    Args:
        images: uint8 (N, h, w, 3).
        seed: of images and weights.
        space: the search space.
        limit_rounds: stop after so many rounds.
        limit_candidates: score only so many candidates of every round, evenly spread; a round that was cut short prunes
            nothing and is the last one.
        finished: the first candidates, in order, of an earlier session with these arguments: they are not scored again.
        on_candidate: is called with every candidate that has been scored.

    Returns:
        The mask at the end, and what every candidate did.

    Raises:
        ValueError: where the images are not uint8 (N, h, w, 3), or fewer than a batch.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or len(images) < NTK_BATCH[space]:
        raise ValueError(
            f"`images` must be uint8 (N, h, w, 3), at least {NTK_BATCH[space]} of them; "
            f"they are {images.dtype} {images.shape}."
        )
    start = time.perf_counter()
    scorer, mask, rounds, known = Scorer(space, images, seed), supernet(space), [], iter(finished)
    while candidates(mask) and (limit_rounds is None or len(rounds) < limit_rounds):
        chosen = everything = candidates(mask)
        if limit_candidates is not None and limit_candidates < len(everything):
            chosen = [everything[i * len(everything) // limit_candidates] for i in range(limit_candidates)]
        rounds.append([])
        for operator in chosen:
            candidate = next(known, None)
            if candidate is None:
                scorer.reseed(len(rounds) - 1, everything.index(operator))
                candidate = scorer.candidate(mask, operator)
                on_candidate(candidate)
            rounds[-1].append(candidate)
        if len(chosen) < len(everything):
            break
        mask = prune(mask, rounds[-1], PRUNE_NUMBER[space])
    return Result(mask, rounds, not candidates(mask), time.perf_counter() - start)


def architecture(mask: np.ndarray) -> str:
    """The NAS-Bench-201 string of a mask with one operator an edge."""
    names = iter(OPERATORS["nasbench201"][i] for i in mask[0].argmax(-1))
    return "+".join("|" + "|".join(f"{next(names)}~{j}" for j in range(i)) + "|" for i in range(1, 4))
