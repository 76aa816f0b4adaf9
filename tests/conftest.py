"""Numerics are tested in float64, with JAX's implicit dtype and rank promotions switched off."""

import gc
import os
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import numpy as np
import pytest

from tenas_jax.scores import catalogue, traced_programs
from tenas_jax.scores.indicators import Indicator, Scores
from tenas_jax.spaces import registry
from tenas_jax.spaces.score import Kernel, Patterns
from tenas_jax.spaces.single_input import SINGLE_INPUT
from tenas_jax.spaces.space import SearchSpace
from tenas_jax.spaces.two_inputs import TWO_INPUTS

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# Tests replace parts of the package, which what was traced before would not know.
traced_programs.folder, WHERE_TRACED = lambda: None, traced_programs.folder

# Larger variants of checks whose small variants always run. `slow` too: `-m "not slow"` replaces what setup.cfg leaves out.
EXTENSIVE = (pytest.mark.slow, pytest.mark.extensive)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """The tests of a file stay in one process, where they share what they compile."""
    from xdist.scheduler import LoadFileScheduling

    return LoadFileScheduling(config, log)


def pytest_collection_finish():
    """What lives until the end, libraries and tests, is not looked through for garbage again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def rng() -> np.random.Generator:
    """A host generator with a fixed seed: a test that fails, fails again."""
    return np.random.default_rng(0)


def outside_file(variable: str) -> Path:
    """The path in an environment variable; skips the test, with the reason, where it is not set or not there."""
    path = os.environ.get(variable)
    if not path:
        pytest.skip(f"the environment variable {variable} is not set")
    if not Path(path).exists():
        pytest.skip(f"{variable}={path} does not exist")
    return Path(path)


def shrink(monkeypatch, *, kernels=(), patterns=(), **preset):
    """Scores of every space on fewer and smaller images, and its presets on fewer paths.

    Args:
        monkeypatch: of the test.
        kernels: fields of every `Kernel`.
        patterns: fields of every `Patterns`.
        **preset: fields of every `Preset`.
    """
    whole, sizes = SearchSpace.scores.fget, {Kernel: dict(kernels), Patterns: dict(patterns)}

    def small(self):
        return {
            name: score._replace(work=score.work._replace(**sizes[type(score.work)]))
            for name, score in whole(self).items()
        }

    monkeypatch.setattr(SearchSpace, "scores", property(small))
    monkeypatch.setattr(
        catalogue, "_OTHER", {ntk: {**other, **dict(kernels)} for ntk, other in catalogue._OTHER.items()}
    )
    for family in (SINGLE_INPUT, TWO_INPUTS):
        for name, known in family.presets.items():
            monkeypatch.setitem(family.presets, name, replace(known, **preset))


def scored_by(name, lower_is_better, weights):
    """An indicator that is a plain function of the mask, with an interaction between edges."""

    def evaluate(key, masks):
        alive = masks / masks.sum(-1, keepdims=True)
        values = 1 + np.abs(np.sin((alive * weights).sum((1, 2, 3))))[None]
        return Scores(values, np.full(values.shape, "counted"))

    return Indicator(name, lower_is_better, evaluate, geometric=True)


def scored_by_parameters(monkeypatch, spaces: dict[str, SearchSpace], paths: int):
    """Searches and rankings of spaces of the registry go by parameters, so that nothing is compiled.

    Args:
        monkeypatch: of the test.
        spaces: by name.
        paths: that a round of a search draws.
    """
    for name, space in spaces.items():
        presets = {"default": replace(space.family.presets["default"], scores=("parameters",), paths=paths)}
        family = replace(space.family, presets=presets, default_scores=("parameters",))
        monkeypatch.setitem(registry.SPACES, name, replace(space, like=family))
