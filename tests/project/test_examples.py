"""The examples in docstrings are true, in single and in double precision."""

import doctest
import importlib
from pathlib import Path

import jax
import pytest

import tenas_jax

PACKAGE = Path(tenas_jax.__file__).parent
NAMES = [
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    for path in sorted(PACKAGE.rglob("*.py"))
    if ">>> " in path.read_text()
]
EXAMPLES = {
    example.name: example
    for name in NAMES
    for example in doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name))
    if example.examples
}
# What `tenas_jax` offers and what can be called; DARTS is a space like NAS_BENCH_201.
CALLED = {name for name, home in tenas_jax._HOMES.items() if name.islower()}


@pytest.fixture(params=["single", "double"])
def precision(request):
    jax.config.update("jax_enable_x64", request.param == "double")
    yield request.param
    jax.config.update("jax_enable_x64", True)


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_are_true(name, precision):
    lines: list[str] = []
    result = doctest.DocTestRunner().run(EXAMPLES[name], out=lines.append, clear_globs=False)
    assert result.attempted > 0
    assert result.failed == 0, "".join(lines)


@pytest.mark.parametrize("name", sorted(CALLED))
def test_every_public_function_has_an_example(name):
    assert f"tenas_jax.{tenas_jax._HOMES[name]}.{name}" in EXAMPLES
