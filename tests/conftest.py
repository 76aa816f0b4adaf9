"""Numerics are tested in float64, with JAX's implicit dtype and rank promotions switched off."""

import os
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import numpy as np
import pytest

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


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
