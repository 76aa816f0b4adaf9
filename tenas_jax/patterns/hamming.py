"""How alike activation patterns are: graded companions of the number of linear regions.

Two inputs are as alike as the neurons on which they agree (NASWOT, Mellor et al. 2021, section 3). A count asks only
whether patterns are equal, and saturates where all are distinct; these measures ask by how many neurons they differ.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from tenas_jax.patterns.activations import ActivationPatterns, bits_of


def hamming_distances(
    patterns: Bool[Array, "samples bits"] | ActivationPatterns,
) -> Float[Array, "samples samples"]:
    """On how many neurons each pair of patterns differs; jittable.

    Args:
        patterns: from `activation_patterns`, or bits (samples, bits), one row an input, one column a ReLU. Bits that are
            the same for all change nothing.

    Returns:
        (samples, samples), integers in the default floating-point type, exact up to 2^24 bits.

    Raises:
        InputError: where the patterns are not a two-dimensional bool array, or empty.
    """
    on = bits_of(patterns)
    # Of -1 and 1 the inner product is the agreements less the disagreements.
    signs = jnp.where(on, 1.0, -1.0)
    return (on.shape[1] - jnp.dot(signs, signs.T, precision="highest")) / 2


def hamming_kernel(
    patterns: Bool[Array, "samples bits"] | ActivationPatterns, neurons: int | None = None
) -> Float[Array, "samples samples"]:
    """`neurons - Hamming distance` of every pair of patterns (Mellor et al. 2021, equation 3); jittable.

    Args:
        patterns: from `activation_patterns`, or bits (samples, bits), one row an input, one column a ReLU.
        neurons: the number of neurons; by default the bits. Bits that are off for all inputs because their operator is
            dead change no distance: with the number of live neurons the kernel is that of the network without them.

    Returns:
        (samples, samples), integers in the default floating-point type, exact up to 2^24 bits.

    Raises:
        InputError: as `hamming_distances`.

    Examples:
        >>> import numpy as np
        >>> hamming_kernel(np.array([[True, False, True], [True, True, True]])).tolist()
        [[3.0, 2.0], [2.0, 3.0]]
    """
    on = bits_of(patterns)
    return (on.shape[1] if neurons is None else neurons) - hamming_distances(on)


def effective_regions(patterns: Bool[Array, "samples bits"] | ActivationPatterns) -> Float[Array, ""]:
    """The effective number of linear regions: how many, if patterns that differ in few neurons count as partly equal.

    The diversity of order 1 with the similarity `Z_ij = exp(-d_ij)`, d the Hamming distance: `exp(-mean_i log mean_j Z_ij)`
    (Leinster and Cobbold 2012, equation 1). For patterns that are equal or far apart it is the exponential of their
    entropy; it is never larger than the number of distinct patterns. Jittable.

    Args:
        patterns: from `activation_patterns`, or bits (samples, bits), one row an input, one column a ReLU. Bits that are
            the same for all change nothing.

    Returns:
        A number from 1 to the number of distinct patterns.

    Raises:
        InputError: as `hamming_distances`.

    Examples:
        Two of four patterns are equal; the others are far from them and from each other: the exponential of 1.5 log 2.

        >>> import numpy as np
        >>> patterns = np.repeat(np.eye(3, dtype=bool), 20, axis=1)[[0, 0, 1, 2]]
        >>> round(float(effective_regions(patterns)), 3), round(2**1.5, 3)
        (2.828, 2.828)
    """
    return effective_number(hamming_distances(patterns))


def effective_number(distances: Float[Array, "samples samples"]) -> Float[Array, ""]:
    """The effective number of patterns that are so far apart, see `effective_regions`; jittable.

    Args:
        distances: Hamming distances of every pair.
    """
    return jnp.exp(-jnp.log(jnp.exp(-distances).mean(1)).mean())


def independent_patterns(layers: Sequence[Bool[Array, "samples bits"]]) -> Float[Array, ""]:
    """How many patterns of a ReLU differ independently, the geometric mean over ReLUs; jittable.

    Of each ReLU the participation ratio `tr(C)^2 / tr(C^2)` of the covariance C of its bits: 1 where the inputs lie along a
    line, at most one less than there are inputs.

    Args:
        layers: bits (samples, bits) of every ReLU. Those on which all inputs agree do not count: dead operators are off.

    Returns:
        A number from 1 to the number of inputs less one; 0 where inputs differ nowhere.

    Examples:
        Four inputs in one ReLU, each with a neuron of its own, and along a line in another one: the root of 3 times 1.

        >>> import numpy as np
        >>> apart, line = np.eye(4, dtype=bool), np.array([[True], [False], [True], [False]])
        >>> round(float(independent_patterns([apart, line])), 3)
        1.732
    """
    ratios, differing = [], []
    for bits in layers:
        on = jnp.where(bits, 1.0, 0.0)
        centred = on - on.mean(0, keepdims=True)
        products = jnp.dot(centred, centred.T, precision="highest")
        total = jnp.trace(products)
        differing.append(total > 0)
        ratios.append(jnp.where(total > 0, total**2 / jnp.maximum(jnp.square(products).sum(), 1e-30), 1.0))
    count = jnp.where(jnp.stack(differing), 1.0, 0.0).sum()
    mean = jnp.exp(jnp.log(jnp.stack(ratios)).sum() / jnp.maximum(count, 1.0))
    return jnp.where(count > 0, mean, jnp.zeros_like(mean))


def regularised_log_determinant(kernel: Float[Array, "n n"]) -> Float[Array, ""]:
    """`log det(K + I)` of a Hamming kernel; jittable, and finite where inputs share a pattern.

    K is positive semi-definite, so this is at least 0. The identity stands for one more neuron an input, on for it alone: a
    second input of the same pattern adds next to nothing, where the plain log-determinant would drop to minus infinity. It
    counts distinct patterns and grades them by how far they are apart.

    Args:
        kernel: (n, n) from `hamming_kernel`.
    """
    regular = kernel + jnp.eye(len(kernel), dtype=kernel.dtype)
    return 2 * jnp.log(jnp.diagonal(jnp.linalg.cholesky(regular))).sum()
