"""The documentation knows every public name and every page."""

import html
import json
import re
import textwrap
import tomllib
from pathlib import Path

import jax
import pytest

import tenas_jax

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
REFERENCE = {path.stem: path.read_text() for path in (DOCS / "reference").glob("*.md")}


@pytest.mark.parametrize("name", tenas_jax.__all__)
def test_every_public_name_is_in_the_table(name):
    home, _, there = tenas_jax._HOMES[name].partition(":")
    assert re.search(rf"\[`{name}`\]\[tenas_jax\.{home}(\.{there or name})?\]", REFERENCE["index"])


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


def blocks(path):
    """Python blocks of a page, those in tabs too."""
    found = re.findall(r"^( *)```python\n(.*?)^\1```", path.read_text(), re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(code) for _, code in found]


PAGES = [path for path in sorted(DOCS.rglob("*.md")) if blocks(path)]


@pytest.fixture
def usual_settings():
    """JAX as a reader has it: single precision, promotion without complaint."""
    names = ("jax_enable_x64", "jax_numpy_dtype_promotion", "jax_numpy_rank_promotion")
    before = [getattr(jax.config, name) for name in names]
    for name, value in zip(names, (False, "standard", "allow"), strict=True):
        jax.config.update(name, value)
    yield
    for name, value in zip(names, before, strict=True):
        jax.config.update(name, value)


@pytest.mark.slow
@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_python_on_the_pages_runs(path, usual_settings, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    scope = {"__name__": "page"}
    for number, code in enumerate(blocks(path)):
        exec(compile(code, f"{path.name}[{number}]", "exec"), scope)
    assert "nan" not in capsys.readouterr().out.split()


def test_the_home_page_has_the_two_commands_of_the_readme():
    shown = re.findall(r"^```bash\n(.*?)^```", (DOCS / "index.md").read_text(), re.MULTILINE | re.DOTALL)
    commands = re.findall(r"^```bash\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert shown == commands[:2]


def test_one_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"Version `{project}` " in (DOCS / "index.md").read_text()
    assert re.search(rf"^version: \"?{re.escape(project)}\"?$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)


def test_the_example_report_is_that_of_the_first_command():
    page = (DOCS / "examples" / "search.html").read_text()
    output = json.loads((ROOT / "benchmarks" / "results" / "search_first_run.json").read_text())
    assert html.escape(output["nasbench201"]["first"]["output"][-1]) in page
    assert not re.search(r"(src|href)=\"https?:", page)
    # It was made by the templates of today.
    templates = ROOT / "tenas_jax" / "report" / "templates"
    assert (templates / "script.js").read_text().strip() in page
    style = (templates / "style.css").read_text().splitlines()
    assert [line for line in style if "{{" not in line and "{%" not in line and line not in page] == []
