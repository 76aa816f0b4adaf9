"""The documentation knows every public name and every page."""

import re
from pathlib import Path

import pytest

import tenas_jax

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
REFERENCE = {path.stem: path.read_text() for path in (DOCS / "reference").glob("*.md")}


@pytest.mark.parametrize("name", tenas_jax.__all__)
def test_every_public_name_is_in_the_table(name):
    home = tenas_jax._HOMES[name]
    assert re.search(rf"\[`{name}`\]\[tenas_jax\.{home}(\.{name})?\]", REFERENCE["index"])


def test_every_public_module_is_on_one_page():
    modules = [path.relative_to(ROOT).with_suffix("") for path in (ROOT / "tenas_jax").rglob("*.py")]
    public = [".".join(module.parts) for module in modules if not re.search(r"/_|__init__", module.as_posix())]
    shown = [name for text in REFERENCE.values() for name in re.findall(r"^::: (\S+)", text, re.MULTILINE)]
    assert sorted(shown) == sorted(public)


@pytest.mark.parametrize("path", sorted(DOCS.rglob("*.md")), ids=lambda path: str(path.relative_to(DOCS)))
def test_links_lead_somewhere_on_the_file_system(path):
    targets = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", path.read_text())
    missing = [target for target in targets if "://" not in target and not (path.parent / target).exists()]
    assert missing == []
