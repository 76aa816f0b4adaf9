"""NAS-Bench-201 (Dong and Yang 2020): cells of four nodes, five operators, 15,625 architectures."""

from tenas_jax.spaces.nasbench201_cells import CELL, first_equal
from tenas_jax.spaces.space import SearchSpace

NAS_BENCH_201 = SearchSpace(name=CELL.name, operators=CELL.operators, edges=CELL.edges, representatives=first_equal)
