"""Training-free neural architecture search in JAX: TE-NAS with an analytic neural tangent kernel."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tenas_jax.errors import InputError as InputError
    from tenas_jax.errors import NotAnalyticError as NotAnalyticError
    from tenas_jax.networks.frameworks import equinox_model as equinox_model
    from tenas_jax.networks.frameworks import linen_model as linen_model
    from tenas_jax.networks.frameworks import nnx_model as nnx_model
    from tenas_jax.ntk.analytic import analytic_ntk as analytic_ntk
    from tenas_jax.ntk.empirical import empirical_ntk as empirical_ntk
    from tenas_jax.ntk.spectrum import KernelStatistics as KernelStatistics
    from tenas_jax.ntk.spectrum import condition_number as condition_number
    from tenas_jax.ntk.spectrum import spectrum as spectrum
    from tenas_jax.ntk.spectrum import statistics as statistics
    from tenas_jax.patterns.activations import ActivationPatterns as ActivationPatterns
    from tenas_jax.patterns.activations import activation_patterns as activation_patterns
    from tenas_jax.patterns.hamming import hamming_kernel as hamming_kernel
    from tenas_jax.patterns.regions import count_linear_regions as count_linear_regions
    from tenas_jax.scores.evaluation import Evaluation as Evaluation
    from tenas_jax.scores.evaluation import evaluate as evaluate
    from tenas_jax.search.pruner import prune as prune
    from tenas_jax.spaces.darts import DARTS as DARTS
    from tenas_jax.spaces.nasbench201 import NAS_BENCH_201 as NAS_BENCH_201
    from tenas_jax.spaces.space import SearchSpace as SearchSpace

# Names are looked up at their first use (PEP 562), so that `--help` does not wait for JAX.
_HOMES = {
    "ActivationPatterns": "patterns.activations",
    "DARTS": "spaces.darts",
    "Evaluation": "scores.evaluation",
    "InputError": "errors",
    "KernelStatistics": "ntk.spectrum",
    "NAS_BENCH_201": "spaces.nasbench201",
    "NotAnalyticError": "errors",
    "SearchSpace": "spaces.space",
    "activation_patterns": "patterns.activations",
    "analytic_ntk": "ntk.analytic",
    "condition_number": "ntk.spectrum",
    "count_linear_regions": "patterns.regions",
    "empirical_ntk": "ntk.empirical",
    "equinox_model": "networks.frameworks",
    "evaluate": "scores.evaluation",
    "hamming_kernel": "patterns.hamming",
    "linen_model": "networks.frameworks",
    "nnx_model": "networks.frameworks",
    "prune": "search.pruner",
    "spectrum": "ntk.spectrum",
    "statistics": "ntk.spectrum",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"tenas_jax.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
