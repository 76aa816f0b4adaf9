"""All scores of one network in one call, for any network that JAX can trace."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float

from tenas_jax.networks.apply_function import ApplyFunction
from tenas_jax.ntk.empirical import empirical_ntk, is_parameter
from tenas_jax.ntk.spectrum import KernelStatistics, log_determinants, statistics
from tenas_jax.patterns.activations import activation_patterns
from tenas_jax.patterns.hamming import hamming_kernel
from tenas_jax.patterns.regions import LinearRegions, count_linear_regions


class Evaluation(NamedTuple):
    """Scores of one network; `print` shows them as a table.

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
    hamming: float
    neurons: int
    parameters: int

    def __str__(self) -> str:
        """One line a score."""
        ntk, regions = self.ntk, self.linear_regions
        saturated = ", saturated: take more samples" if regions.saturated else ""
        rows = {
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
        return "\n".join(f"{name:<24}{value}" for name, value in rows.items())


def evaluate(
    fn: ApplyFunction,
    variables: Any,
    images: Float[Array, "n ..."],
    *,
    samples: Float[Array, "m ..."] | None = None,
    batch_stats: Literal["frozen", "coupled"] = "frozen",
    trainable: Callable[[str], bool] = is_parameter,
    threshold: float | None = None,
    block_size: int | None = None,
) -> Evaluation:
    """All scores of one network.

    Args:
        fn: `fn(variables, images)` returns logits (n, classes); `tenas_jax.models` makes one of a Flax or Equinox model.
        variables: any tree of arrays.
        images: (n, ...), for the NTK and the Hamming kernel.
        samples: (m, ...), for the number of linear regions, which says little unless there are many more of them than
            regions; by default the images.
        batch_stats: as for `empirical_ntk`.
        trainable: which leaves are parameters, by path.
        threshold: for smooth activations, as for `activation_patterns`.
        block_size: as for `empirical_ntk`.

    Returns:
        The scores.

    Raises:
        InputError: as `empirical_ntk` and `activation_patterns`.

    Examples:
        >>> import jax
        >>> first, second, third = jax.random.split(jax.random.key(0), 3)
        >>> weights = {"hidden": jax.random.normal(first, (3, 16)), "output": jax.random.normal(second, (16, 2))}
        >>> images = jax.random.normal(third, (5, 3))
        >>> scores = evaluate(lambda w, x: jax.nn.relu(x @ w["hidden"]) @ w["output"], weights, images)
        >>> scores.neurons, scores.parameters, scores.linear_regions.samples, str(scores.ntk.health)
        (16, 80, 5, 'full rank')
    """
    kernel = empirical_ntk(fn, variables, images, batch_stats=batch_stats, trainable=trainable, block_size=block_size)

    @jax.jit
    def bits_of(variables, batch):
        return activation_patterns(lambda x: fn(variables, x), batch, batch_stats=batch_stats, threshold=threshold).bits

    bits = bits_of(variables, images)
    regions = count_linear_regions(bits if samples is None else bits_of(variables, samples))
    determinant, _ = log_determinants(np.asarray(hamming_kernel(bits)))
    leaves = jax.tree_util.tree_flatten_with_path(variables)[0]
    parameters = sum(
        leaf.size for path, leaf in leaves if trainable(jax.tree_util.keystr(path, simple=True, separator="/"))
    )
    return Evaluation(statistics(kernel), regions, float(determinant), bits.shape[1], parameters)
