"""Architectures as strings.

NAS-Bench-201 writes a cell as `|op~source|+|op~source|op~source|+...`, one group of edges a node (Dong and Yang 2020).
DARTS writes a `Genotype(normal=[('op', source), ...], normal_concat=range(2, 6), reduce=..., reduce_concat=...)`, two
pairs a node (Liu et al. 2019, section 2.3); the same as JSON is understood too.
"""

import ast
import json
import re
import warnings
from functools import lru_cache
from typing import Any

import numpy as np

from tenas_jax.errors import InputError
from tenas_jax.spaces.cell_graph import NONE, CellGraph
from tenas_jax.spaces.decision_strings import format_decisions, parse_decisions


def format_cells(space: CellGraph, choice: np.ndarray) -> str:
    """Cells as NAS-Bench-201 writes them; of several cells each with its name, as in `normal:|...|+|...| reduce:|...|`.

    Decisions that are no edges of a cell are written by `decision_strings.format_decisions`.

    Args:
        space: the space.
        choice: operator numbers (cells, edges).

    Raises:
        InputError: where a node keeps more or fewer input edges than the space's final architectures.
    """
    if space.decisions:
        return format_decisions(space, choice)
    _check_kept(space, choice)
    cells = [_format_cell(space, operators) for operators in choice]
    return cells[0] if len(cells) == 1 else " ".join(map("{}:{}".format, space.cells, cells))


def parse_cells(space: CellGraph, architecture: str) -> np.ndarray:
    """Operator numbers (cells, edges) of what `format_cells` wrote.

    Args:
        space: the space.
        architecture: the string.

    Raises:
        InputError: for missing cells, a wrong number of nodes or edges, an unknown operator or a wrong source node.
    """
    if space.decisions:
        return parse_decisions(space, architecture)
    texts = [architecture]
    if len(space.cells) > 1:
        named = [text.partition(":") for text in architecture.split()]
        if [name for name, _, _ in named] != list(space.cells):
            form = " ".join(f"{cell}:|...|" for cell in space.cells)
            raise InputError(
                f"the architecture {architecture!r} is not of the form `{form}`, the cells of {space.name}."
            )
        texts = [text for _, _, text in named]
    choice = np.array([_parse_nodes(space, text) for text in texts])
    _check_kept(space, choice)
    return choice


def _check_kept(space: CellGraph, choice: np.ndarray) -> None:
    if not space.chooses_inputs:
        return
    for cell, operators in zip(space.cells, choice, strict=True):
        for node in space.inner_nodes:
            count = int(np.isin(operators[space.entering(node)], space.carriers).sum())
            if count != space.kept(node):
                raise InputError(
                    f"an architecture of {space.name} has {space.kept(node)} input edges at node {node}; this one has "
                    f'{count} in the cell {cell}. The others hold "none".'
                )


def _format_cell(space: CellGraph, operators: np.ndarray) -> str:
    nodes: dict[int, list[str]] = {}
    for operator, (source, target) in zip(operators, space.edges, strict=True):
        nodes.setdefault(target, []).append(f"{space.operators[operator]}~{source}")
    return "+".join(f"|{'|'.join(edges)}|" for edges in nodes.values())


def _parse_nodes(space: CellGraph, architecture: str) -> list[int]:
    nodes = architecture.strip().split("+")
    expected = sorted({target for _, target in space.edges})
    if len(nodes) != len(expected):
        raise InputError(
            f"the architecture {architecture!r} has {len(nodes)} nodes between `+`; {space.name} has {len(expected)}."
        )
    choice: list[int] = []
    for target, node in zip(expected, nodes, strict=True):
        choice += _known_node(space, target, node) or _parse_node(space, architecture, target, node)
    return choice


@lru_cache(maxsize=2**12)
def _known_node(space: CellGraph, target: int, node: str) -> list[int] | None:
    """The operators of a node, of which a space has few; None where something is wrong."""
    try:
        return _parse_node(space, "", target, node)
    except InputError:
        return None


def _parse_node(space: CellGraph, architecture: str, target: int, node: str) -> list[int]:
    sources = [source for source, end in space.edges if end == target]
    if not re.fullmatch(r"\|([^|]+\|)+", node) or node.count("|") != len(sources) + 1:
        raise InputError(
            f"node {target} of the architecture {architecture!r} is {node!r}; it needs {len(sources)} edge(s) as "
            f"`|{'|'.join(f'OPERATOR~{source}' for source in sources)}|`."
        )
    choice = []
    for source, edge in zip(sources, node.strip("|").split("|"), strict=True):
        operator, _, start = edge.partition("~")
        if operator not in space.operators:
            raise InputError(
                f"the architecture {architecture!r} has the unknown operator {operator!r}; "
                f"{space.name} has {', '.join(space.operators)}."
            )
        if start != str(source):
            raise InputError(
                f"in the architecture {architecture!r} the edge {edge!r} of node {target} must come from node "
                f"{source}: write `{operator}~{source}`."
            )
        choice.append(space.operators.index(operator))
    return choice


def format_darts(space: CellGraph, choice: np.ndarray) -> str:
    """The genotype of a DARTS architecture, as DARTS code prints it; a node's pairs are in the order of their sources.

    Args:
        space: the space.
        choice: operator numbers (cells, edges), "none" on an edge that is dropped.

    Raises:
        InputError: where a node keeps more or fewer input edges than the space's final architectures.
    """
    concat = f"range({space.inputs}, {space.nodes})"
    pairs = _pairs(space, choice)
    return f"Genotype({', '.join(f'{cell}={pairs[cell]!r}, {cell}_concat={concat}' for cell in space.cells)})"


def genotype_json(space: CellGraph, mask: np.ndarray) -> str:
    """A DARTS genotype as a JSON object: `{"normal": [["op", source], ...], "normal_concat": [2, 3, 4, 5], ...}`.

    Args:
        space: the space.
        mask: bool (cells, edges, operators) of a single architecture; `space.parse` reads the result back.

    Raises:
        InputError: where the mask is not a single architecture, or a node keeps a wrong number of input edges.
    """
    genotype = {}
    for cell, pairs in _pairs(space, space.choice(mask)).items():
        genotype |= {cell: pairs, f"{cell}_concat": list(space.inner_nodes)}
    return json.dumps(genotype)


def _pairs(space: CellGraph, choice: np.ndarray) -> dict[str, list[tuple[str, int]]]:
    """(operator, source) of all edges that carry something, by target node; refuses a wrong number at a node."""
    pairs = {}
    for cell, operators in zip(space.cells, choice, strict=True):
        kept = [
            (space.operators[operator], source, target)
            for operator, (source, target) in zip(operators, space.edges, strict=True)
            if space.operators[operator] != NONE
        ]
        for node in space.inner_nodes:
            count = sum(target == node for _, _, target in kept)
            if count != space.kept_edges:
                raise InputError(
                    f"a {space.name} genotype has {space.kept_edges} input edges a node; node {node} of the {cell} "
                    f'cell has {count}. Leave only "none" alive on the edges to drop, and another operator on the rest.'
                )
        pairs[cell] = [(operator, source) for operator, source, _ in kept]
    return pairs


def parse_darts(space: CellGraph, architecture: str) -> np.ndarray:
    """Operator numbers (cells, edges) of a genotype, as DARTS code prints it or as JSON; dropped edges hold "none".

    Args:
        space: the space.
        architecture: the string; it is never evaluated.

    Raises:
        InputError: for text of another form, a missing cell, an unknown operator, an input that does not come before
            its node, a wrong number of inputs, or one edge named twice.
    """
    genotype = _read_json(architecture) if architecture.lstrip().startswith("{") else _read_call(architecture)
    expected = {name for cell in space.cells for name in (cell, f"{cell}_concat")}
    if set(genotype) != expected:
        different = sorted(expected - set(genotype)) or sorted(set(genotype) - expected)
        raise InputError(
            f"a genotype has the fields {', '.join(sorted(expected))}; "
            f"this one {'lacks' if expected - set(genotype) else 'also has'} {', '.join(map(repr, different))}."
        )
    for cell in space.cells:
        if genotype[f"{cell}_concat"] != list(space.inner_nodes):
            raise InputError(
                f"`{cell}_concat` must be range({space.inputs}, {space.nodes}), every node but the inputs; "
                f"it is {genotype[f'{cell}_concat']!r}."
            )
    return np.stack([_parse_cell(space, cell, genotype[cell]) for cell in space.cells])


def _read_json(text: str) -> dict[str, Any]:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"the genotype {_shortened(text)} is not valid JSON: {error}.") from error


def _read_call(text: str) -> dict[str, Any]:
    """The keyword arguments of a call `Genotype(...)`, read from its syntax tree; `range(a, b)` becomes a list."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # of `0if`, which is refused below
            call = ast.parse(text.strip(), mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.func.id != "Genotype":
            raise ValueError("it is another expression")
        if call.args or len({keyword.arg for keyword in call.keywords}) < len(call.keywords):
            raise ValueError("every field must be named, once")
        return {str(keyword.arg): _literal(keyword.value) for keyword in call.keywords}
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise InputError(
            f"the genotype {_shortened(text)} is not of the form `Genotype(normal=[('sep_conv_3x3', 0), ...], "
            "normal_concat=range(2, 6), reduce=[...], reduce_concat=range(2, 6))`, nor a JSON object with these fields."
        ) from error


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range" and not node.keywords:
        start, stop = (ast.literal_eval(argument) for argument in node.args)
        # Bounded, as a list is made of it.
        return list(range(start, min(stop, start + 100)))
    return ast.literal_eval(node)


def _parse_cell(space: CellGraph, cell: str, pairs: Any) -> np.ndarray:
    kept, expected = space.kept_edges or 0, (space.kept_edges or 0) * (space.nodes - space.inputs)
    if not isinstance(pairs, list | tuple) or len(pairs) != expected:
        raise InputError(
            f"the {cell} cell of a genotype must list {expected} pairs (operator, input), {kept} for each of the nodes "
            f"{space.inputs} to {space.nodes - 1}; "
            f"it lists {len(pairs) if isinstance(pairs, list | tuple) else repr(pairs)}."
        )
    choice = np.full(len(space.edges), space.none)
    for place, pair in enumerate(pairs):
        target = space.inputs + place // kept
        where = f"pair {place} of the {cell} cell, {pair!r}, which enters node {target},"
        if not isinstance(pair, list | tuple) or [type(part) for part in pair] != [str, int]:
            raise InputError(f"{where} must be an operator's name and the number of an input node.")
        operator, source = pair
        if operator not in space.operators or operator == NONE:
            names = ", ".join(name for name in space.operators if name != NONE)
            raise InputError(f"{where} must name one of the operators {names}.")
        if (source, target) not in space.edges:
            raise InputError(f"{where} must take its input from one of the nodes 0 to {target - 1}.")
        edge = space.edges.index((source, target))
        if choice[edge] != space.none:
            raise InputError(f"{where} names node {source} a second time; the {kept} inputs of a node must differ.")
        choice[edge] = space.operators.index(operator)
    return choice


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}...")
