"""A latency predictor of one's own: a function from masks to milliseconds, from a file or as it is."""

import hashlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from tenas_jax.errors import InputError, printable
from tenas_jax.search.measures import Measure
from tenas_jax.spaces.references import find_source
from tenas_jax.spaces.space import Masks, SearchSpace

Predictor = Callable[[Masks, SearchSpace], Any]
ASKED = 256  # random architectures by whose values a predictor is told from another one
DIGITS = 6  # of them: more are not the same on every machine


def predicted(given: str | Predictor, space: SearchSpace) -> Measure:
    """A predictor as a measure.

    Args:
        given: `FILE.py:NAME` or `package.module:NAME`, or the function: `f(masks, space)` with masks bool (m, cells, edges,
            operators) returns m milliseconds, NaN for an architecture that does not run.
        space: the search space.

    Raises:
        InputError: where it is no such function, or says something else when it is asked again.
    """
    if isinstance(given, str):
        source = find_source(given)
        function, code, name = source.load(), source.sha256(), given.rpartition(":")[2]
    else:
        function, code, name = given, _sha256_of(given), getattr(given, "__name__", type(given).__name__)
    if not callable(function):
        raise InputError(
            f"the predictor {name} must be a function of masks and space; it is of the type {type(function).__name__}."
        )

    def ask(space: SearchSpace, masks: Masks) -> np.ndarray:
        return _asked(function, str(name), space, masks)

    masks = space.sample(jax.random.key(0), ASKED)
    values, again = ask(space, masks), ask(space, masks)
    if not np.array_equal(values, again, equal_nan=True):
        raise InputError(
            f"the predictor {name} says something else of the same architectures when it is asked again; a search needs a "
            "function that does not change."
        )
    digest = hashlib.sha256(" ".join(f"{value:.{DIGITS}g}" for value in values).encode()).hexdigest()
    identity = {"predictor": str(name), "code_sha256": code, "values_sha256": digest}
    return Measure("latency", "ms", "--max-latency", ask, on=f"predictor {name}", identity=identity)


def _asked(function: Predictor, name: str, space: SearchSpace, masks: Masks) -> np.ndarray:
    try:
        found = function(masks.copy(), space)
    except Exception as error:  # whatever a foreign function raises
        said = printable((str(error).strip().splitlines() or [""])[0])
        raise InputError(f"the predictor {name} failed ({type(error).__name__}: {said}); mend it first.") from error
    try:
        values = np.asarray(found, float)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"the predictor {name} must return milliseconds as numbers; it returned a {type(found).__name__}."
        ) from error
    if values.shape != (len(masks),):
        raise InputError(
            f"the predictor {name} must return a number an architecture, of shape ({len(masks)},); it returned "
            f"{values.shape}."
        )
    if (values < 0).any() or np.isinf(values).any():
        raise InputError(
            f"the predictor {name} must return milliseconds from 0, NaN for what does not run; it returned "
            f"{values[(values < 0) | np.isinf(values)][0]:g}."
        )
    return values


def _sha256_of(function: Any) -> str | None:
    """The hash of the file that defines a function; None where there is none: its values tell it from others."""
    try:
        file = inspect.getsourcefile(inspect.unwrap(function))
        return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else None
    except (TypeError, OSError):
        return None
