"""`tenas_jax.search(...)` and `tenas_jax.rank(...)`: the command lines as objects."""

import subprocess
import sys
from dataclasses import fields

import jax
import numpy as np
import pytest

import tenas_jax
from tenas_jax.errors import InputError
from tenas_jax.rank.command import arguments
from tenas_jax.rank.config import RankConfig
from tenas_jax.report.run_files import read_run
from tenas_jax.search import several
from tenas_jax.search.command import _arguments
from tenas_jax.search.config import Config

FEW = {"strategy": "exhaustive", "max_flops": 8_000_000, "repeats": 1}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    records = []
    output = tmp_path_factory.mktemp("runs") / "run"
    return tenas_jax.search(records.append, output=str(output), **FEW), records


def test_a_search_is_an_object(found):
    result, records = found
    assert result.architecture == str(result) == result.space.format(result.mask)
    assert [record["best"] for record in records] == [result.architecture]
    table = result.table
    assert table["architecture"][0] == result.architecture
    assert {len(column) for column in table.values()} == {len(table["architecture"])}
    assert result.scores["smoothed"] == table["smoothed"][0] == max(table["smoothed"])
    assert result.scores["parameters"] == result.record["cost"]["parameters"]
    assert result.report() == (result.folder / "report.html").read_text()
    assert "<svg" in result._repr_html_()
    variables = jax.eval_shape(
        result.model(7).init, jax.random.key(0), jax.ShapeDtypeStruct((2, 32, 32, 3), np.float32)
    )
    ten = jax.eval_shape(result.model().init, jax.random.key(0), jax.ShapeDtypeStruct((2, 32, 32, 3), np.float32))
    sizes = [sum(leaf.size for leaf in jax.tree.leaves(found["params"])) for found in (variables, ten)]
    assert sizes[1] == result.record["cost"]["parameters"]
    assert sizes[0] < sizes[1]
    assert len(result.rounds) == 1


def test_a_second_call_reads_the_folder(found, capsys):
    again = tenas_jax.search(output=found[0].folder, **FEW)
    assert again.architecture == found[0].architecture
    assert "was finished before" in capsys.readouterr().err


def test_kernels_beside_are_those_of_the_definition(found):
    """The condition numbers of the kernels that are kept, by another way: `analytic_ntk` of the same images."""
    from tenas_jax.data import image_batch, open_images
    from tenas_jax.ntk.gaussian_kernels import Settings
    from tenas_jax.search.beside import SALT

    result, _ = found
    work = result.space.scores["condition_number_no_batch_norm"].work
    key = jax.random.fold_in(jax.random.key(0), SALT)
    _, images = jax.random.split(key)
    batch = image_batch(images, open_images(seed=0), work.images, side=work.side)
    assert work.grey
    batch = np.repeat(np.asarray(batch).mean(-1, keepdims=True), 3, axis=-1)
    settings = Settings(work.parametrisation, work.batch_norm, work.statistics)
    kept = read_run(result.folder).beside["kernels"]
    for name, mask in (("found", result.mask), ("supernet", result.space.supernet())):
        kernel = tenas_jax.analytic_ntk(result.space, mask, batch, skeleton=work.skeleton, settings=settings)
        # Shared work adds up in another order, in single precision.
        np.testing.assert_allclose(np.array(kept[name]), np.asarray(kernel), rtol=1e-5, atol=1e-6 * np.max(kernel))


def test_a_ranking_is_an_object(tmp_path):
    result = tenas_jax.rank(
        architectures=5, scores="flops,parameters", output=tmp_path / "a.csv", figures=tmp_path / "figures"
    )
    assert result.architecture == result.architectures[0] == result.space.format(result.mask)
    assert len(result.architectures) == 5
    costs = tenas_jax.costs(result.space, np.stack([result.space.parse(name) for name in result.architectures]))
    np.testing.assert_array_equal(result.scores["flops"], costs.flops)
    assert result.table["architecture"] == result.architectures
    assert result.report() == (tmp_path / "a.html").read_text()
    assert (tmp_path / "figures" / "cell-cell.pdf").exists()


def test_unknown_options_are_one_sentence():
    with pytest.raises(InputError, match="there is no option 'sede'; there are space, "):
        tenas_jax.search(sede=1)
    with pytest.raises(InputError, match="there is no option 'seeds'"):
        tenas_jax.rank(seeds="0-9")
    with pytest.raises(InputError, match="once a seed"):
        tenas_jax.search(seeds="0-9")


def test_every_option_of_the_command_lines_is_one_of_python():
    assert _arguments([]) == Config()
    assert arguments([]) == RankConfig()
    assert {"space", "seed", "data"} <= {field.name for field in fields(Config)} & {f.name for f in fields(RankConfig)}


def test_the_rooms_stay_modules_whatever_is_imported_first():
    code = (
        "import tenas_jax.search.command, tenas_jax.rank.command, tenas_jax; "
        "assert callable(tenas_jax.search) and callable(tenas_jax.rank); "
        "assert tenas_jax.search.command.run and tenas_jax.rank.command.run; "
        "import importlib; assert callable(importlib.reload(tenas_jax.search)); print('jax' in __import__('sys').modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("text", "seeds"), [("0-3", [0, 1, 2, 3]), ("7", [7]), ("0,3,7", [0, 3, 7]), ("2-3, 9", [2, 3, 9])]
)
def test_seeds(text, seeds):
    assert several.seeds_of(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "3-1", "0-", "-1", "1,1", "0-5000", "1.5", "0-9,3", "99999999999"])
def test_seeds_that_make_no_sense(text):
    with pytest.raises(InputError, match="--seed"):
        several.seeds_of(text)


def test_the_medoid_by_counting():
    choices = [np.array([[0, 0, 0]]), np.array([[1, 1, 0]]), np.array([[1, 0, 0]]), np.array([[4, 4, 4]])]
    # Edges shared with all four: 3 + 1 + 2 + 0, 1 + 3 + 2 + 0, 2 + 2 + 3 + 0, 3.
    assert several.medoid(choices) == 2


def test_several_seeds_are_compared(tmp_path, monkeypatch, capsys):
    architectures = {0: "a", 1: "b", 2: "b"}
    space = tenas_jax.NAS_BENCH_201
    strings = {
        "a": space.format(space.one_hot(np.full((1, 6), 1))),
        "b": space.format(space.one_hot(np.full((1, 6), 3))),
    }

    def run(config):
        from tenas_jax.records.run_folder import RunFolder

        architecture = strings[architectures[config.seed]]
        with RunFolder(config.output, {"space": "nasbench201", "strategy": "prune", "seed": config.seed}) as folder:
            folder.finish({"architecture": architecture, "seed": config.seed, "rounds": 0, "config": {}})
        return architecture

    assert several.run_seeds(Config(seeds="0-2", output=tmp_path / "all"), run) == strings["b"]
    assert "3 runs, 2 different architectures" in (tmp_path / "all" / "report.html").read_text()
    assert "2 different architectures of 3 seeds; 2 found the one below" in capsys.readouterr().err
