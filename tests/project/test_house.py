"""The house keeps its rules: imports flow downwards, heavy libraries wait, and what the README says can be run."""

import ast
import re
import shlex
from pathlib import Path

import pytest

from tenas_jax.data import DATASETS
from tenas_jax.export import command as export
from tenas_jax.options import SPACE_NAMES
from tenas_jax.rank import command as rank
from tenas_jax.scores import presets
from tenas_jax.scores.catalogue import chosen_scores
from tenas_jax.search import command as search
from tenas_jax.spaces.nasbench201 import NAS_BENCH_201
from tenas_jax.spaces.registry import SPACES
from tenas_jax.train import command as train
from tenas_jax.train.recipe import RECIPES

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "tenas_jax").rglob("*.py"))
README = (ROOT / "README.md").read_text()


def room(path):
    """`space.py`, or `data/` for everything in that folder: what a row of docs/architecture.md names."""
    first = path.relative_to(ROOT / "tenas_jax").parts[0]
    return first if first.endswith(".py") else f"{first}/"


def imports(path):
    """(imported module, whether while the importing module is imported); those for type checkers are not."""

    def walk(node, at_once):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            at_once = False
        if isinstance(node, ast.Import):
            yield from ((alias.name, at_once) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # `from tenas_jax import space` imports a module by its name in the package.
            whole = node.module == "tenas_jax"
            yield from ((f"{node.module}.{a.name}" if whole else str(node.module), at_once) for a in node.names)
        for child in ast.iter_child_nodes(node):
            yield from walk(child, at_once and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))

    return set(walk(ast.parse(path.read_text()), True))


def rooms():
    """Rooms in the order of the table in docs/architecture.md."""
    table = (ROOT / "docs" / "architecture.md").read_text()
    cells = re.findall(r"^\| (`.*?) \|", table, flags=re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`([\w/.]+)`", cell)]


def test_every_module_is_in_the_table_of_rooms():
    assert sorted(rooms()) == sorted({room(path) for path in MODULES} - {"__init__.py"})


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_come_from_rooms_above(path):
    """Those for type checkers too: a reader follows them as well."""
    order = rooms()
    if path == ROOT / "tenas_jax" / "__init__.py":
        return
    for name, _ in imports(path):
        package, _, rest = name.partition(".")
        if package != "tenas_jax":
            continue
        first = rest.split(".")[0]
        above = f"{first}.py" if f"{first}.py" in order else f"{first}/"
        assert above in order, (
            f"{path.relative_to(ROOT)} imports {name}: a room imports from rooms, not from the package's face"
        )
        if above != room(path):
            message = (
                f"{path.relative_to(ROOT)} is in {room(path)} and imports {name} from {above}, a room further down"
            )
            assert order.index(above) < order.index(room(path)), message


def whole_names(path):
    """The modules of the package that a module imports, by their full names."""
    known = {module_name(other) for other in MODULES}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)} & known


def module_name(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def test_no_modules_import_each_other_in_a_circle():
    below = {module_name(path): set(whole_names(path)) for path in MODULES if path.name != "__init__.py"}
    while below:
        free = {name for name, needs in below.items() if not needs & set(below)}
        assert free, f"these import each other: {sorted(below)}"
        below = {name: needs for name, needs in below.items() if name not in free}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_heavy_libraries_and_internals_stay_outside(path):
    rare = {
        "neural_tangents",
        "scipy",
        "PIL",
        "tensorflow",
        "tensorflow_datasets",
        "tqdm",
        "optax",
        "equinox",
        "grain",
        "orbax",
        "safetensors",
        "torch",
        "jinja2",
        "rich",
        "matplotlib",
    }
    if path.name == "neural_tangents.py":
        return
    for name, at_once in imports(path):
        assert not re.match(r"jax\.(_src|core|interpreters)\b", name), f"{path.name} imports {name}"
        assert not (at_once and name.split(".")[0] in rare), f"{path.name} imports {name} before it is needed"
    assert not re.search(r"\bjax\._src\b|\bjax\.core\.|\bjax\.interpreters\b", path.read_text())
    assert not re.search(r"\bnp\.random\.(?!default_rng\b|Generator\b|SeedSequence\b)\w+", path.read_text()), (
        "global random state"
    )


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_name_every_argument(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), f"{path.name} has no docstring"
    for function in tree.body:
        if not isinstance(function, ast.FunctionDef) or function.name.startswith("_") or path.stem.startswith("_"):
            continue
        text = ast.get_docstring(function) or ""
        named = set(re.findall(r"^    \*?(\w+): ", text.partition("Args:")[2], flags=re.MULTILINE))
        has = {a.arg for a in [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]}
        assert text, f"{path.name}: {function.name} has no docstring"
        if "Args:" in text:
            assert has <= named, f"{path.name}: {function.name} does not explain {sorted(has - named)}"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


COMMANDS = [part.strip() for block in blocks("bash") for line in block.splitlines() for part in line.split("&&")]
SEARCHES = [command for command in COMMANDS if command.startswith("python -m tenas_jax.search")]
TRAININGS = [command for command in COMMANDS if command.startswith("python -m tenas_jax.train")]
EXPORTS = [command for command in COMMANDS if command.startswith("python -m tenas_jax.export")]
RANKINGS = [command for command in COMMANDS if command.startswith("python -m tenas_jax.rank")]


@pytest.mark.parametrize("command", SEARCHES)
def test_readme_searches_are_understood(command, capsys):
    argv = shlex.split(command)[3:]
    if argv == ["--help"]:
        with pytest.raises(SystemExit) as stop:
            search._arguments(argv)
        assert stop.value.code == 0
        assert "--benchmark-column" in capsys.readouterr().out
        return
    config = search._arguments(argv)
    presets.preset(config.preset, config.ntk)
    assert config.space in SPACE_NAMES
    assert config.dataset is None or config.dataset in DATASETS


@pytest.mark.parametrize("command", RANKINGS)
def test_readme_rankings_are_understood(command):
    config = rank.arguments(shlex.split(command)[3:])
    assert config.space in SPACE_NAMES
    if config.scores:
        chosen_scores(SPACES[config.space], config.scores.split(","))


@pytest.mark.parametrize("command", TRAININGS)
def test_readme_trainings_are_understood(command):
    config = train.arguments(shlex.split(command)[3:])
    assert config.preset in RECIPES
    NAS_BENCH_201.parse(config.architecture)


@pytest.mark.parametrize("command", EXPORTS)
def test_readme_exports_are_understood(command):
    mask = NAS_BENCH_201.parse(export.arguments(shlex.split(command)[3:]).architecture)
    assert mask.shape == NAS_BENCH_201.mask_shape


def test_readme_commands_are_all_known():
    """Whatever else stands there installs, or is what .ci/run runs."""
    assert len(SEARCHES) >= 2
    gate = (ROOT / ".ci" / "run").read_text().splitlines()
    installs = r"(python -m venv \.venv|\. \.venv/bin/activate|pip install .*)"
    others = [
        c
        for c in COMMANDS
        if c and c not in SEARCHES + RANKINGS + TRAININGS + EXPORTS and not re.fullmatch(installs, c)
    ]
    assert "pytest -n 2" in others
    for command in others:
        assert any(line.startswith(command) for line in gate), f".ci/run does not run `{command}`"


def test_readme_example_runs(capsys):
    (example,) = blocks("python")
    exec(compile(example, "README.md", "exec"), {"__name__": "readme"})
    kernel, regions = capsys.readouterr().out.splitlines()
    assert "full rank" in kernel
    assert "count=100" in regions


def test_readme_links_lead_somewhere():
    targets = re.findall(r"\]\(([^)#]+)\)", README) + re.findall(r"`((?:benchmarks|docs|tests)/[\w/.]+)`", README)
    missing = [target for target in targets if "://" not in target and not (ROOT / target).exists()]
    assert targets
    assert missing == []


COUNTED = {
    "live_spatial_convolutions": "live 3x3 convolutions",
    "path_spatial_convolutions": "3x3 convolutions over paths",
    "live_convolutions": "live convolutions",
    "path_convolutions": "convolutions over paths",
}


@pytest.mark.parametrize("document", ["README.md", "docs/fidelity.md", "docs/concepts/search.md"])
def test_documents_say_what_the_default_counts(document):
    [counted] = COUNTED.keys() & set(NAS_BENCH_201.family.default_scores)
    text = " ".join((ROOT / document).read_text().split()).replace("3 x 3", "3x3")
    assert COUNTED[counted] in text
