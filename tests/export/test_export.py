"""What is exported computes the same: source for PyTorch and Flax, parameters, ONNX; published state dicts come in."""

import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tenas_jax.errors import InputError
from tenas_jax.export import command, files
from tenas_jax.export.dialects import Flax
from tenas_jax.export.published import import_published, published_names
from tenas_jax.export.source import written
from tenas_jax.export.weights import flax_variables, load, save
from tenas_jax.networks.stand_alone import Blueprint, StandAlone
from tenas_jax.spaces.darts import DARTS
from tenas_jax.spaces.mnasnet import MNASNET
from tenas_jax.spaces.nasbench101 import NAS_BENCH_101
from tenas_jax.spaces.nasbench201 import NAS_BENCH_201
from tenas_jax.spaces.skeleton import Skeleton
from tenas_jax.spaces.transnas_macro import TRANSNAS_MACRO
from tenas_jax.spaces.transnas_micro import TRANSNAS_MICRO

CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|none~2|"
NORMAL = [("sep_conv_3x3", 0), ("skip_connect", 1), ("dil_conv_3x3", 2), ("avg_pool_3x3", 0),
          ("sep_conv_5x5", 3), ("max_pool_3x3", 1), ("skip_connect", 4), ("dil_conv_5x5", 0)]  # fmt: skip
REDUCE = [("skip_connect", 0), ("sep_conv_3x3", 1), ("max_pool_3x3", 2), ("skip_connect", 0),
          ("avg_pool_3x3", 1), ("dil_conv_3x3", 3), ("dil_conv_5x5", 4), ("sep_conv_5x5", 2)]  # fmt: skip
GENOTYPE = f"Genotype(normal={NORMAL}, normal_concat=range(2, 6), reduce={REDUCE}, reduce_concat=range(2, 6))"


def blueprint(space, text, skeleton, **options):
    choice = tuple(map(tuple, space.choice(space.parse(text)).tolist()))
    return Blueprint(space, choice, skeleton, **options)


EMPTY = "|none~0|+|none~0|none~1|+|none~0|none~1|nor_conv_1x1~2|"
GRAPH = "|conv3x3-bn-relu~0|+|conv1x1-bn-relu~0|+|maxpool3x3~1~2|+|conv1x1-bn-relu~1|+|output~0~2~3~4|"
BLOCKS = "e1k3l1se1-e4k5l1se0-e1k3l2se0-e1k3l1se0-e1k3l1se0-e1k3l1se0-e1k3l1se0"
WITHOUT_INPUT = "|none~0|+|none~0|nor_conv_3x3~1|+|none~0|nor_conv_1x1~1|skip_connect~2|"
CASES = {
    "nasbench201": (blueprint(NAS_BENCH_201, CELL, Skeleton(4, 2, stages=2, classes=7)), 8),
    "empty": (blueprint(NAS_BENCH_201, EMPTY, Skeleton(4, 1, stages=1)), 8),
    "darts": (blueprint(DARTS, GENOTYPE, Skeleton(6, 3, classes=7, stem_multiplier=3)), 16),
    "imagenet": (blueprint(DARTS, GENOTYPE, Skeleton(4, 3, classes=7), images="imagenet"), 64),
    "nasbench101": (blueprint(NAS_BENCH_101, GRAPH, Skeleton(5, 1, stages=2, classes=7)), 8),
    "mnasnet": (blueprint(MNASNET, BLOCKS, Skeleton(8, 1, stages=4, classes=7)), 16),
    "transnas-micro": (blueprint(TRANSNAS_MICRO, WITHOUT_INPUT, Skeleton(4, 1, stages=2, classes=7)), 8),
    "transnas-macro": (blueprint(TRANSNAS_MACRO, "1423", Skeleton(2, 1, stages=3, classes=7)), 8),
}  # fmt: skip


@pytest.fixture(scope="module", params=CASES)
def network(request):
    """A network whose scales and statistics differ from channel to channel, and what it makes of some images."""
    rng = np.random.default_rng(0)
    found, side = CASES[request.param]
    images = rng.normal(size=(2, side, side, 3))
    parameters = {
        name: jnp.asarray(rng.uniform(0.5, 1.5, d.shape) if len(d.shape) == 1 else rng.normal(size=d.shape) / 5)
        for name, d in found.declared(images.shape).items()
    }
    norms = {n.removesuffix(".scale"): v.shape for n, v in parameters.items() if n.endswith(".scale")}
    statistics = {n: tuple(jnp.asarray(rng.uniform(0.5, 1.5, s)) for _ in range(2)) for n, s in norms.items()}
    variables = {"params": parameters, "batch_stats": statistics}
    logits = jax.jit(StandAlone(found, jnp.float64).apply)(variables, images)
    return found, variables, images, np.asarray(logits)


def test_flax_source_computes_the_same(network):
    found, variables, images, logits = network
    source, names = written(found, Flax())
    space = {}
    exec(compile(Flax.header + source, "network_flax.py", "exec"), space)
    given = flax_variables(variables, names)
    np.testing.assert_allclose(jax.jit(space["Network"]().apply)(given, images), logits, rtol=1e-9, atol=1e-12)


def test_torch_source_computes_the_same(network, tmp_path):
    torch = pytest.importorskip("torch")
    found, variables, images, logits = network
    module = files.torch_network(found, variables)
    with torch.no_grad():
        other = module(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()
    np.testing.assert_allclose(other, logits, rtol=1e-9, atol=1e-12)
    files.write_torch(tmp_path, found, variables)
    files.write_flax(tmp_path, found, variables)
    assert not [path for path in tmp_path.glob("network_*.py") if "tenas_jax" in path.read_text()]
    assert len(list(tmp_path.iterdir())) == 4


def test_parameters_come_back(network, tmp_path):
    found, variables, _, _ = network
    side = 64 if found.images == "imagenet" else 16
    save(tmp_path, found, variables, found.space.name, {"side": side})
    loaded = load(tmp_path)
    assert loaded.blueprint == found
    assert isinstance(loaded.model, StandAlone)
    jax.tree.map(np.testing.assert_array_equal, loaded.variables, variables)


@pytest.mark.slow
def test_files_load_without_this_package(tmp_path):
    """In a process of its own, from the folder alone."""
    pytest.importorskip("torch")
    argv = [
        "--architecture",
        CELL,
        "--preset",
        "quick",
        "--formats",
        "parameters,torch,flax",
        "--output",
        str(tmp_path),
    ]
    assert command.main(argv) == 0
    code = (
        "import sys, json, numpy as np, torch, network_torch, network_flax, jax\n"
        "x = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype('float32')\n"
        "a = network_torch.load()(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())).detach().numpy()\n"
        "network, variables = network_flax.load()\n"
        "b = np.asarray(network.apply(variables, x))\n"
        "assert not any(name.startswith('tenas_jax') for name in sys.modules)\n"
        "print(json.dumps([a.tolist(), b.tolist()]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120
    )
    a, b = (np.array(values) for values in json.loads(done.stdout))
    loaded = load(tmp_path)
    images = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype("float32")
    logits = np.asarray(loaded.model.apply(loaded.variables, images))
    np.testing.assert_allclose(a, logits, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(b, logits, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_onnx_computes_the_same(tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    pytest.importorskip("torch")
    found, side = CASES["nasbench201"]
    variables = StandAlone(found).initial(jax.random.key(0), (1, side, side, 3))
    files.write_onnx(tmp_path, found, variables, side)
    images = np.random.default_rng(0).normal(size=(5, side, side, 3)).astype("float32")
    session = runtime.InferenceSession(tmp_path / "network.onnx")
    (logits,) = session.run(None, {"images": images.transpose(0, 3, 1, 2)})
    expected = StandAlone(found).apply(variables, images)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


def test_the_order_of_a_genotype_is_that_of_its_text():
    found, _ = CASES["darts"]
    swapped = GENOTYPE.replace("('sep_conv_3x3', 0), ('skip_connect', 1)", "('skip_connect', 1), ('sep_conv_3x3', 0)")
    names, other = published_names(found), published_names(found, swapped)
    assert names["cell0.edge0.sep_conv_3x3.first.depthwise"] == "cells.0._ops.0.op.1"
    assert other["cell0.edge0.sep_conv_3x3.first.depthwise"] == "cells.0._ops.1.op.1"
    with pytest.raises(InputError, match="another one"):
        published_names(found, GENOTYPE.replace("dil_conv_3x3", "dil_conv_5x5"))


def test_state_dicts_that_do_not_fit_are_refused():
    torch_networks = pytest.importorskip("pytorch.stand_alone")
    found = blueprint(NAS_BENCH_201, CELL, Skeleton(4, 1, stages=2, classes=7))
    operators = ["nor_conv_3x3", "none", "skip_connect", "avg_pool_3x3", "nor_conv_1x1", "none"]
    network = torch_networks.NasBench201(operators, channels=4, cells=1, classes=7, stages=2)
    state = {name: value.numpy() for name, value in network.state_dict().items()}
    assert import_published(found, state, side=8)["params"]["head.linear.kernel"].shape == (8, 7)
    with pytest.raises(InputError, match=r"must hold 'classifier\.weight'"):
        import_published(found, {n: v for n, v in state.items() if n != "classifier.weight"}, side=8)
    with pytest.raises(InputError, match="no place for, such as 'extra'"):
        import_published(found, state | {"extra": np.zeros(3)}, side=8)
    with pytest.raises(InputError, match="has the shape"):
        import_published(found, state | {"classifier.weight": np.zeros((8, 8))}, side=8)


def refused(capsys, *argv):
    assert command.main([str(word) for word in argv]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


def test_bad_input_is_one_sentence(capsys, tmp_path):
    assert "either --run" in refused(capsys)
    assert "'keras' is none" in refused(capsys, "--architecture", CELL, "--formats", "keras")
    assert "no folder of a training" in refused(capsys, "--run", tmp_path)
    assert "genotype" in refused(capsys, "--architecture", CELL, "--space", "darts")


def test_folders_that_hold_no_network_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"must hold architecture\.json"):
        load(tmp_path)
    found, _ = CASES["empty"]
    shapes = {name: np.zeros(d.shape) for name, d in found.declared((1, 8, 8, 3)).items()}
    norms = {n.removesuffix(".scale"): (v, v) for n, v in shapes.items() if n.endswith(".scale")}
    save(tmp_path, found, {"params": shapes, "batch_stats": norms}, "nasbench201", {})
    description = tmp_path / "architecture.json"
    text = description.read_text()
    description.write_text(text.replace("1x1", "3x3"))
    with pytest.raises(InputError, match="another network"):
        load(tmp_path)
    description.write_text('{"network": {"space": "nasbench201"}}')
    with pytest.raises(InputError, match="describes no network"):
        load(tmp_path)
    description.write_text(text)
    (tmp_path / "model.safetensors").write_bytes(b"12345678901234567890")
    with pytest.raises(InputError, match="damaged"):
        load(tmp_path)
