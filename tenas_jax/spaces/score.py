"""What a score is, as data: which network, which kernel or which patterns, how many images, which statistic.

A space carries its scores, as it carries its operators; `scores/catalogue.py` evaluates them. A definition decides the
numbers, so a hash of it stands in the identity of every run.
"""

from typing import Literal, NamedTuple

from tenas_jax.spaces.skeleton import Skeleton

Ntk = Literal["analytic", "empirical"]
NtkEngine = Literal["auto", "layerwise", "neural_tangents", "neural_tangents_ntvp"]
REPEATS = 8  # draws of images and weights over which a score is averaged where nothing else is said


class Kernel(NamedTuple):
    """An NTK of a batch of images.

    Attributes:
        skeleton: how cells are stacked.
        ntk: of infinite width in closed form, or of one finite network that is drawn at random.
        images: batch size.
        side: to which images are average-pooled; None leaves them as they are.
        grey: whether every channel of an image is the mean of its three.
        parametrisation: of the analytic kernel, see `ntk.gaussian_kernels.Settings`.
        batch_norm: of the analytic kernel; "none" leaves it out of the empirical one too.
        statistics: of the analytic kernel.
        maxima: of the analytic kernel, see `ntk.gaussian_kernels.Settings`.
        batch_stats: of the empirical kernel, see `ntk.empirical.empirical_ntk`.
        fan: of the empirical kernel's Kaiming initialisation.
        engine: of the empirical kernel, see `ntk.empirical.empirical_ntk`.
    """

    skeleton: Skeleton
    ntk: Ntk = "analytic"
    images: int = 8
    side: int | None = 4
    grey: bool = False
    parametrisation: Literal["ntk", "standard"] = "standard"
    batch_norm: Literal["mean-field", "exact", "none"] = "mean-field"
    statistics: Literal["frozen", "mean-coupled", "coupled"] = "mean-coupled"
    maxima: Literal["sampled", "moments"] = "sampled"
    batch_stats: Literal["frozen", "coupled"] = "frozen"
    fan: Literal["fan_in", "fan_out"] = "fan_in"
    engine: NtkEngine = "auto"


class Patterns(NamedTuple):
    """Activation patterns of a thin network on small patches, or on whole images.

    Attributes:
        skeleton: how cells are stacked; without a stem, colours are mixed at random where the channels are others.
        channels: of the patches: 3 for colour, 1 for one random colour channel each.
        side: of a patch, or to which images are average-pooled.
        samples: patches of a batch, which share their batch norm's statistics.
        batches: whose patterns are counted together.
        whole: images instead of patches.
        fan: of the Kaiming initialisation.
    """

    skeleton: Skeleton
    channels: Literal[1, 3] = 3
    side: int = 3
    samples: int = 1000
    batches: int = 1
    whole: bool = False
    fan: Literal["fan_in", "fan_out"] = "fan_in"


class Score(NamedTuple):
    """One number of an architecture.

    Attributes:
        meaning: one line for people.
        statistic: what is asked of the kernel, the patterns or the costs.
        work: what it is asked of; None for costs, which need no evaluation.
        lower_is_better: the direction.
        geometric: whether repeats are averaged by their logarithms; condition numbers have large outliers.
    """

    meaning: str
    statistic: str
    work: Kernel | Patterns | None
    lower_is_better: bool = False
    geometric: bool = False


_OF_KERNELS = {
    "condition_number": ("largest over smallest eigenvalue of the NTK (TE-NAS)", True, True),
    "smallest_eigenvalue": ("of the NTK", False, False),
    "trace": ("of the NTK", False, True),
    "trace_over_smallest": ("trace over smallest eigenvalue of the NTK", True, True),
    "entropy": ("of the NTK's normalised eigenvalues, in nats", False, False),
}
_OF_PATTERNS = {
    "linear_regions": ("distinct activation patterns of a thin network (TE-NAS)", False, False),
    "effective_regions": ("the same, patterns that differ in few neurons counting as partly equal", False, True),
    "hamming": ("log-determinant of the Hamming kernel of activation patterns (NASWOT)", False, False),
    "effective_neurons": (
        "neurons, times how many patterns of a ReLU differ independently (geometric mean over ReLUs)", False, True,
    ),
    "hamming_log_determinant": (
        "log det(K + I) of the Hamming kernel of a thin network's patterns", False, False,
    ),
}  # fmt: skip


def of_kernel(kernel: Kernel, variant: str = "", network: str = "", *statistics: str) -> dict[str, Score]:
    """Scores that are read from one kernel.

    Args:
        kernel: the kernel.
        variant: what follows the statistic's name in the score's.
        network: what follows its meaning.
        *statistics: which; all by default.

    Returns:
        By name.
    """
    return _scores(kernel, _OF_KERNELS, variant, network, statistics or tuple(_OF_KERNELS))


def of_patterns(patterns: Patterns, variant: str, network: str, *statistics: str) -> dict[str, Score]:
    """Scores that are read from the activation patterns of one network.

    Args:
        patterns: the patterns.
        variant: what follows the statistic's name in the score's.
        network: what follows its meaning.
        *statistics: which.

    Returns:
        By name.
    """
    return _scores(patterns, _OF_PATTERNS, variant, network, statistics)


def _scores(work, known, variant, network, statistics) -> dict[str, Score]:
    found = {}
    for statistic in statistics:
        meaning, lower_is_better, geometric = known[statistic]
        found[f"{statistic}{variant}"] = Score(meaning + network, statistic, work, lower_is_better, geometric)
    return found
