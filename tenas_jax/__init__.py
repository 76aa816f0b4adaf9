"""Training-free neural architecture search in JAX: TE-NAS with an analytic neural tangent kernel."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tenas_jax.activations import ActivationPatterns as ActivationPatterns
    from tenas_jax.activations import activation_patterns as activation_patterns
    from tenas_jax.errors import InputError as InputError
    from tenas_jax.errors import NotAnalyticError as NotAnalyticError
    from tenas_jax.evaluation import Evaluation as Evaluation
    from tenas_jax.evaluation import evaluate as evaluate
    from tenas_jax.hamming import hamming_kernel as hamming_kernel
    from tenas_jax.infinite import analytic_ntk as analytic_ntk
    from tenas_jax.models import equinox_model as equinox_model
    from tenas_jax.models import linen_model as linen_model
    from tenas_jax.models import nnx_model as nnx_model
    from tenas_jax.ntk import condition_number as condition_number
    from tenas_jax.ntk import empirical_ntk as empirical_ntk
    from tenas_jax.ntk import spectrum as spectrum
    from tenas_jax.pruner import prune as prune
    from tenas_jax.regions import count_linear_regions as count_linear_regions
    from tenas_jax.space import DARTS as DARTS
    from tenas_jax.space import NAS_BENCH_201 as NAS_BENCH_201
    from tenas_jax.space import SearchSpace as SearchSpace
    from tenas_jax.spectra import KernelStatistics as KernelStatistics
    from tenas_jax.spectra import statistics as statistics

# Names are looked up at their first use (PEP 562), so that `--help` does not wait for JAX.
_HOMES = {
    "ActivationPatterns": "activations",
    "DARTS": "space",
    "Evaluation": "evaluation",
    "InputError": "errors",
    "KernelStatistics": "spectra",
    "NAS_BENCH_201": "space",
    "NotAnalyticError": "errors",
    "SearchSpace": "space",
    "activation_patterns": "activations",
    "analytic_ntk": "infinite",
    "condition_number": "ntk",
    "count_linear_regions": "regions",
    "empirical_ntk": "ntk",
    "equinox_model": "models",
    "evaluate": "evaluation",
    "hamming_kernel": "hamming",
    "linen_model": "models",
    "nnx_model": "models",
    "prune": "pruner",
    "spectrum": "ntk",
    "statistics": "spectra",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"tenas_jax.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
