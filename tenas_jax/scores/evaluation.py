"""All scores of one network in one call, for any network that JAX can trace."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float

from tenas_jax.errors import InputError
from tenas_jax.networks.apply_function import ApplyFunction, BatchStats
from tenas_jax.ntk.empirical import empirical_ntk, is_parameter
from tenas_jax.ntk.engines import Engine
from tenas_jax.ntk.spectrum import KernelStatistics, log_determinants, statistics
from tenas_jax.patterns.activations import patterns_of
from tenas_jax.patterns.hamming import hamming_kernel
from tenas_jax.patterns.regions import LinearRegions, count_linear_regions


class Evaluation(NamedTuple):
    """Scores of one network, or of stacked ones as arrays (models,); `print` shows them as a table.

    Attributes:
        ntk: statistics of the empirical NTK: condition number (lower is better), its health, trace, effective rank, ...
        linear_regions: of the samples: distinct activation patterns (more is better), with their health.
        hamming: log-determinant of the Hamming kernel of the images (higher is better); minus infinity where two images
            have the same pattern.
        neurons: bits of an activation pattern.
        parameters: numbers in the leaves that count as parameters.
    """

    ntk: KernelStatistics
    linear_regions: LinearRegions
    hamming: Any
    neurons: int
    parameters: int

    def model(self, number: int) -> "Evaluation":
        """The scores of one of several models.

        Args:
            number: its place.
        """
        ntk = KernelStatistics(*(values[number] for values in self.ntk))
        regions = self.linear_regions
        count, saturated = int(regions.count[number]), bool(regions.saturated[number])  # pyright: ignore
        return self._replace(
            ntk=ntk,
            linear_regions=LinearRegions(count, regions.samples, saturated),
            hamming=float(self.hamming[number]),
        )

    def __str__(self) -> str:
        """One line a score; of several models one column each."""
        if not np.ndim(self.hamming):
            return "\n".join(f"{name:<24}{value}" for name, value in self._rows().items())
        columns = [list(self.model(number)._rows().values()) for number in range(len(self.hamming))]
        widths = [max(map(len, column)) for column in columns]
        lines = zip(self.model(0)._rows(), *columns, strict=True)
        return "\n".join(
            f"{name:<24}" + "  ".join(f"{value:<{width}}" for value, width in zip(values, widths, strict=True)).rstrip()
            for name, *values in lines
        )

    def _rows(self) -> dict[str, str]:
        ntk, regions = self.ntk, self.linear_regions
        saturated = ", saturated: take more samples" if regions.saturated else ""
        return {
            "condition number": f"{ntk.condition_number:.4g} ({ntk.health})",
            "smallest eigenvalue": f"{ntk.smallest_eigenvalue:.4g}",
            "trace": f"{ntk.trace:.4g}",
            "entropy": f"{ntk.entropy:.4g}",
            "effective rank": f"{ntk.effective_rank:.4g}",
            "linear regions": f"{regions.count} of {regions.samples} samples{saturated}",
            "Hamming log-determinant": f"{self.hamming:.6g}",
            "neurons": f"{self.neurons}",
            "parameters": f"{self.parameters}",
        }


def evaluate(
    fn: ApplyFunction,
    variables: Any,
    images: Float[Array, "n ..."],
    *,
    samples: Float[Array, "m ..."] | None = None,
    batch_stats: BatchStats | None = None,
    trainable: Callable[[str], bool] = is_parameter,
    threshold: float | None = None,
    block_size: int | None = None,
    engine: Engine = "auto",
    stacked: bool = False,
) -> Evaluation:
    """All scores of one network, or of many of one shape. What it compiles is kept, see `program_cache.py`.

    Args:
        fn: `fn(variables, images)` returns logits (n, classes); `tenas_jax.models` makes one of a Flax or Equinox model.
        variables: any tree of arrays.
        images: (n, ...), for the NTK and the Hamming kernel: floating-point, tokens, or a tree, as for `empirical_ntk`.
        samples: (m, ...), for the number of linear regions, which says little unless there are many more of them than
            regions; by default the images.
        batch_stats: as for `empirical_ntk`.
        trainable: which leaves are parameters, by path.
        threshold: for smooth activations, as for `activation_patterns`.
        block_size: as for `empirical_ntk`.
        engine: as for `empirical_ntk`.
        stacked: whether every leaf of `variables` is (models, ...): other initialisations, or other points of a training.
            One program evaluates them one after another, so that memory does not grow with their number.

    Returns:
        The scores; of stacked variables each is an array (models,).

    Raises:
        InputError: as `empirical_ntk` and `activation_patterns`, and for stacked leaves of different lengths.

    Examples:
        >>> import jax
        >>> first, second, third = jax.random.split(jax.random.key(0), 3)
        >>> weights = {"hidden": jax.random.normal(first, (3, 16)), "output": jax.random.normal(second, (16, 2))}
        >>> images = jax.random.normal(third, (5, 3))
        >>> scores = evaluate(lambda w, x: jax.nn.relu(x @ w["hidden"]) @ w["output"], weights, images)
        >>> scores.neurons, scores.parameters, scores.linear_regions.samples, str(scores.ntk.health)
        (16, 80, 5, 'full rank')
    """

    def bits(variables, batch):
        return patterns_of(fn, fn, variables, batch, batch_stats, threshold).bits

    def one(variables) -> Evaluation:
        kernel = empirical_ntk(
            fn, variables, images, batch_stats=batch_stats, trainable=trainable, block_size=block_size, engine=engine
        )
        of_images = bits(variables, images)
        regions = count_linear_regions(of_images if samples is None else bits(variables, samples))
        determinant, _ = log_determinants(np.asarray(hamming_kernel(of_images)))
        parameters = _count(variables, trainable)
        return Evaluation(statistics(kernel), regions, float(determinant), of_images.shape[1], parameters)

    if not stacked:
        return one(variables)
    models = range(_models(variables))
    return _stack([one(jax.tree.map(lambda leaf, model=model: leaf[model], variables)) for model in models])


def _count(variables: Any, trainable: Callable[[str], bool]) -> int:
    leaves = jax.tree_util.tree_flatten_with_path(variables)[0]
    paths = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
    return sum(leaf.size for path, (_, leaf) in zip(paths, leaves, strict=True) if trainable(path))


def _models(variables: Any) -> int:
    """The length of the first axis of every leaf."""
    shapes = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(variables)}
    if len(shapes) != 1 or shapes & {(), (0,)}:
        found = ", ".join(str(shape[0]) if shape else "none" for shape in sorted(shapes)) or "no leaf"
        raise InputError(
            f"stacked `variables` must have one model or more as the first axis of every leaf, the same number everywhere; "
            f"the lengths of that axis are: {found}. Stack by `jax.tree.map(lambda *leaves: jnp.stack(leaves), *models)`."
        )
    return shapes.pop()[0]


def _stack(found: Sequence[Evaluation]) -> Evaluation:
    """Scores as arrays (models,); what the shapes decide is the same for all."""
    ntk = KernelStatistics(*(np.stack(values) for values in zip(*(one.ntk for one in found), strict=True)))
    regions = [one.linear_regions for one in found]
    counts: Any = np.array([one.count for one in regions])
    saturated: Any = np.array([one.saturated for one in regions])
    return Evaluation(
        ntk,
        LinearRegions(counts, regions[0].samples, saturated),
        np.array([one.hamming for one in found]),
        found[0].neurons,
        found[0].parameters,
    )
