"""A search space of blocks instead of cells: kernel, expansion and depth of three stages, scored, searched and ranked."""

from functools import partial

import jax

from tenas_jax import Decision, SearchSpace, prune
from tenas_jax.data import open_images
from tenas_jax.networks import cost
from tenas_jax.scores.catalogue import chosen_scores
from tenas_jax.scores.indicators import indicators
from tenas_jax.spaces.inverted_residual import conv_bn_relu, inverted_residual
from tenas_jax.spaces.skeleton import Skeleton

# Kernel, expansion and layers of a stage.
OPTIONS = {"k3e2": (3, 2, 1), "k3e4": (3, 4, 1), "k5e4": (5, 4, 1), "k3e4twice": (3, 4, 2)}


def stage(read, option, channels, stride, name, x):
    """One option of a stage; names of what has weights begin with `name`."""
    (kernel, expansion, layers), (before, after) = OPTIONS[option], channels
    for layer in range(layers):
        sizes = (before, expansion * before, after)
        x = inverted_residual(read, f"{name}.{option}.{layer}", x, sizes, stride, kernel=kernel)
        before, stride = after, 1
    return x


def network(read, space, weights, images, skeleton, cell):
    """Reads the decisions one after another; `weights[0]` has a row for each, 1 where an option is alone."""
    before = skeleton.channels
    x = conv_bn_relu(read, "stem", images, before, kernel=3)
    for number in range(len(space.decisions)):
        channels = skeleton.channels * 2**number
        stride = 2 if number + 1 < skeleton.stages else 1
        ways = [partial(stage, read, option, (before, channels), stride) for option in space.operators]
        (x,) = read.edges(x, weights[0, number : number + 1], ways, [f"stage{number}"])
        before = channels
    return read.head("linear", conv_bn_relu(read, "head", x, 4 * before), skeleton.classes)


SPACE = SearchSpace(
    name="stages",
    decisions=tuple(Decision(f"stage {number + 1}", tuple(OPTIONS)) for number in range(3)),
    network=network,
    skeletons={"trained": Skeleton(channels=32, cells=1, stages=3)},
)


def main() -> None:
    """Costs of one architecture, then a search."""
    one = SPACE.parse("k3e2-k5e4-k3e4twice")
    print(f"{SPACE.format(one)}, one of {SPACE.size}: {cost.costs(SPACE, one)}")
    by = indicators(SPACE, open_images(), chosen_scores(SPACE, ["hamming"]))
    found, rounds = prune(jax.random.key(0), SPACE, by, paths=32)
    print(f"{SPACE.format(found)} after {len(rounds)} rounds")


if __name__ == "__main__":
    main()
