"""The lists in requirements/ follow pyproject.toml."""

import itertools
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def listed(name):
    lines = (ROOT / "requirements" / name).read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def test_tested_versions_are_admitted_and_complete():
    versions = {canonicalize_name(r.name): str(r.specifier).removeprefix("==") for r in listed("tested.txt")}
    extras = [extra for name, extra in PROJECT["optional-dependencies"].items() if not name.startswith("cuda")]
    for text in itertools.chain(PROJECT["dependencies"], *extras):
        requirement = Requirement(text)
        if requirement.name != "tenas-jax":
            version = versions[canonicalize_name(requirement.name)]
            assert requirement.specifier.contains(version), f"{text}, and {version} was tested"
    assert all(str(r.specifier).startswith("==") for r in listed("tested.txt"))


def test_without_tensorflow_all_but_neural_tangents_is_named():
    needed = {text for text in PROJECT["dependencies"] if not text.startswith("neural-tangents")}
    light = {str(requirement) for requirement in listed("without_tensorflow.txt")}
    # What neural-tangents needs itself, but for TensorFlow.
    assert {str(Requirement(text)) for text in needed} == light - {"frozendict>=2.3.8"}


@pytest.mark.parametrize("page", ["docs/how_to/install.md", "SECURITY.md"])
def test_lists_that_are_named_are_there(page):
    named = {word.strip("`,.") for word in (ROOT / page).read_text().split() if "requirements/" in word}
    assert named
    assert all((ROOT / name).is_file() for name in named)
