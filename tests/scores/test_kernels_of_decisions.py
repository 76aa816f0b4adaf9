"""Kernel scores of spaces of decisions: without a closed form the empirical kernel, that of each network."""

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tenas_jax.data import open_images
from tenas_jax.networks.finite import CellNetwork
from tenas_jax.ntk.empirical import empirical_ntk, is_weight
from tenas_jax.ntk.spectrum import statistics
from tenas_jax.scores.catalogue import read_from_kernel, readable_scores
from tenas_jax.scores.programs import score_programs
from tenas_jax.spaces.registry import find_space

EXAMPLE = f"{Path(__file__).parents[2] / 'examples' / 'own_decisions.py'}:SPACE"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("mnasnet", "its ways have different numbers of channels"),
        ("nasbench-macro", "a ReLU comes behind a depthwise convolution"),
        ("transnas-macro", "its width depends on the mask"),
        (EXAMPLE, "a ReLU comes behind a depthwise convolution"),
    ],
)
def test_without_a_closed_form_the_empirical_kernel_is_taken_and_that_is_said(name, reason, capsys):
    space = find_space(name)
    for ntk in (None, "analytic", "empirical"):
        scores = readable_scores(space, ["condition_number", "trace"], ntk)
        assert read_from_kernel(scores, "empirical")
        assert not read_from_kernel(scores, "analytic")
        said = capsys.readouterr().err
        assert (reason in said) == (ntk != "empirical")
        assert said.count("\n") == (ntk != "empirical")


def test_a_score_is_that_of_the_network_alone():
    space = find_space(EXAMPLE)
    space = replace(space, decisions=space.decisions[:1], source=None)
    score = readable_scores(space, ["condition_number"], "empirical")["condition_number"]
    work = score.work._replace(images=4, side=4, skeleton=score.work.skeleton._replace(classes=2))
    (program,) = score_programs(space, {"condition_number": score._replace(work=work)})
    words, images = program.draw(jax.random.key(0), open_images())
    mask = space.parse("k5e4")
    found, _ = program.read(program.compiled(mask[None], words, images), mask[None])["condition_number"]
    net = CellNetwork(space, work.skeleton, work.fan)
    drawn = net.initial(jax.random.wrap_key_data(jnp.asarray(words)), images.shape, images.dtype)
    own = net._declared(images.shape, mask)
    variables = {
        "params": {name: drawn["params"][name] for name in own},
        "batch_stats": {name: drawn["batch_stats"][name] for name in drawn["batch_stats"] if f"{name}.scale" in own},
    }

    @jax.jit
    def alone(variables, images):
        _, seen = net.apply(variables, images, mask, mutable=["batch_stats"])
        return empirical_ntk(
            lambda variables, images: net.apply(variables, images, mask, train=False),
            variables | seen,
            images,
            trainable=is_weight,
        )

    kernel = alone(variables, jnp.asarray(images))
    np.testing.assert_allclose(found, statistics(np.asarray(kernel)[None]).condition_number, rtol=1e-6)
