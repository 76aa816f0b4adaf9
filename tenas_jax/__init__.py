"""Training-free neural architecture search in JAX: TE-NAS with an analytic neural tangent kernel."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tenas_jax.errors import InputError as InputError
    from tenas_jax.errors import NotAnalyticError as NotAnalyticError
    from tenas_jax.export.weights import load as load
    from tenas_jax.networks.cost import Cost as Cost
    from tenas_jax.networks.cost import costs as costs
    from tenas_jax.networks.finite import CellNetwork as CellNetwork
    from tenas_jax.networks.frameworks import Model as Model
    from tenas_jax.networks.frameworks import equinox_model as equinox_model
    from tenas_jax.networks.frameworks import linen_model as linen_model
    from tenas_jax.networks.frameworks import nnx_model as nnx_model
    from tenas_jax.networks.stand_alone import StandAlone as StandAlone
    from tenas_jax.networks.stand_alone import StandAloneNNX as StandAloneNNX
    from tenas_jax.ntk.analytic import analytic_ntk as analytic_ntk
    from tenas_jax.ntk.empirical import empirical_ntk as empirical_ntk
    from tenas_jax.ntk.gaussian_kernels import Settings as KernelSettings  # noqa: F401
    from tenas_jax.ntk.spectrum import KernelStatistics as KernelStatistics
    from tenas_jax.ntk.spectrum import condition_number as condition_number
    from tenas_jax.ntk.spectrum import spectrum as spectrum
    from tenas_jax.ntk.spectrum import statistics as statistics
    from tenas_jax.patterns.activations import ActivationPatterns as ActivationPatterns
    from tenas_jax.patterns.activations import activation_patterns as activation_patterns
    from tenas_jax.patterns.hamming import hamming_kernel as hamming_kernel
    from tenas_jax.patterns.regions import count_linear_regions as count_linear_regions
    from tenas_jax.program_cache import clear_cache as clear_cache
    from tenas_jax.rank.result import RankResult as RankResult
    from tenas_jax.rank.result import rank as rank
    from tenas_jax.scores.evaluation import Evaluation as Evaluation
    from tenas_jax.scores.evaluation import evaluate as evaluate
    from tenas_jax.search.pruner import prune as prune
    from tenas_jax.search.result import SearchResult as SearchResult
    from tenas_jax.search.result import search as search
    from tenas_jax.spaces.cell_graph import complete_edges as complete_edges
    from tenas_jax.spaces.darts import DARTS as DARTS
    from tenas_jax.spaces.decisions import Decision as Decision
    from tenas_jax.spaces.nasbench201 import NAS_BENCH_201 as NAS_BENCH_201
    from tenas_jax.spaces.skeleton import Skeleton as Macro  # noqa: F401
    from tenas_jax.spaces.skeleton import Skeleton as Skeleton
    from tenas_jax.spaces.space import SearchSpace as SearchSpace
    from tenas_jax.train.model import trained_network as trained_network

# Names are looked up at their first use (PEP 562), so that `--help` does not wait for JAX; a name may have another one at
# home behind a colon.
_HOMES = {
    "ActivationPatterns": "patterns.activations",
    "CellNetwork": "networks.finite",
    "Cost": "networks.cost",
    "DARTS": "spaces.darts",
    "Decision": "spaces.decisions",
    "Evaluation": "scores.evaluation",
    "InputError": "errors",
    "KernelSettings": "ntk.gaussian_kernels:Settings",
    "KernelStatistics": "ntk.spectrum",
    "Macro": "spaces.skeleton:Skeleton",
    "Model": "networks.frameworks",
    "NAS_BENCH_201": "spaces.nasbench201",
    "NotAnalyticError": "errors",
    "RankResult": "rank.result",
    "SearchResult": "search.result",
    "SearchSpace": "spaces.space",
    "Skeleton": "spaces.skeleton",
    "StandAlone": "networks.stand_alone",
    "StandAloneNNX": "networks.stand_alone",
    "activation_patterns": "patterns.activations",
    "analytic_ntk": "ntk.analytic",
    "clear_cache": "program_cache",
    "complete_edges": "spaces.cell_graph",
    "condition_number": "ntk.spectrum",
    "costs": "networks.cost",
    "count_linear_regions": "patterns.regions",
    "empirical_ntk": "ntk.empirical",
    "equinox_model": "networks.frameworks",
    "evaluate": "scores.evaluation",
    "hamming_kernel": "patterns.hamming",
    "linen_model": "networks.frameworks",
    "load": "export.weights",
    "nnx_model": "networks.frameworks",
    "prune": "search.pruner",
    "spectrum": "ntk.spectrum",
    "statistics": "ntk.spectrum",
    "trained_network": "train.model",
}

# Modules that are reached without being imported by name: rooms, and two that users call by what they are for.
_ROOMS = (
    "data",
    "export",
    "networks",
    "ntk",
    "patterns",
    "rank",
    "records",
    "report",
    "scores",
    "search",
    "spaces",
    "train",
)
_MODULES = {"cost": "networks.cost", "models": "networks.frameworks"} | {room: room for room in _ROOMS}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"tenas_jax.{_MODULES[name]}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home, _, there = _HOMES[name].partition(":")
    return getattr(import_module(f"tenas_jax.{home}"), there or name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
