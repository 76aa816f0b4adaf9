"""DARTS (Liu et al. 2019, section 3): a normal and a reduction cell, nodes that keep two of their input edges."""

from tenas_jax.spaces import strings
from tenas_jax.spaces.cell_graph import complete_edges
from tenas_jax.spaces.space import SearchSpace

DARTS = SearchSpace(
    name="darts",
    operators=(
        "none",
        "skip_connect",
        "sep_conv_3x3",
        "sep_conv_5x5",
        "dil_conv_3x3",
        "dil_conv_5x5",
        "avg_pool_3x3",
        "max_pool_3x3",
    ),
    cells=("normal", "reduce"),
    inputs=2,
    edges=complete_edges(2, 6),
    kept_edges=2,
    formatter=strings.format_darts,
    parser=strings.parse_darts,
)
