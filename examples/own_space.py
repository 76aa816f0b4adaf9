"""A new operator and a new search space: finite network, analytic NTK, cost and search."""

import jax
import numpy as np

from tenas_jax import SearchSpace, analytic_ntk, condition_number, prune
from tenas_jax.data import image_batch, open_images
from tenas_jax.networks import cost
from tenas_jax.networks.finite import CellNetwork
from tenas_jax.scores.catalogue import chosen_scores
from tenas_jax.scores.indicators import indicators
from tenas_jax.spaces.operators import relu_conv_bn, separable


def inverted_bottleneck(read, name, x, channels, stride):
    """A 1x1 convolution to twice the channels, a 5x5 depthwise one, and a 1x1 convolution back."""
    wide = relu_conv_bn(read, f"{name}.expand", x, 2 * channels, 1, kernel=1)
    return separable(read, f"{name}.project", wide, channels, stride, kernel=5)


SPACE = SearchSpace(
    name="inverted",
    operators=("none", "skip_connect", "nor_conv_3x3", "inverted_bottleneck"),
    edges=((0, 1), (0, 2), (1, 2), (1, 3), (2, 3)),
    definitions={"inverted_bottleneck": inverted_bottleneck},
)


def main() -> None:
    """Scores an architecture and a supernet, then searches."""
    source, skeleton = open_images(), SPACE.skeleton("ntk")
    images = image_batch(jax.random.key(0), source, 8, side=4)
    net = CellNetwork(SPACE, skeleton)

    @jax.jit
    def scored(mask):
        """A mask is data: one program for every architecture."""
        logits, _ = net.init_with_output(jax.random.key(1), images, mask)
        return logits, analytic_ntk(SPACE, mask, images)

    one = SPACE.parse("|inverted_bottleneck~0|+|skip_connect~0|nor_conv_3x3~1|+|none~1|nor_conv_3x3~2|")
    for name, mask in (("architecture", one), ("supernet", SPACE.supernet())):
        logits, kernel = scored(mask)
        print(f"{name}: logits {np.shape(logits)}, {condition_number(kernel)}, {cost.costs(SPACE, mask)}")
    scores = chosen_scores(SPACE, ["condition_number", "linear_regions"])
    found, rounds = prune(jax.random.key(0), SPACE, indicators(SPACE, source, scores), paths=32)
    print(f"{SPACE.format(found)} after {len(rounds)} rounds")


if __name__ == "__main__":
    main()
