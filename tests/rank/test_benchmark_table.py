"""Tables of accuracies: what an architecture reaches, and what is wrong with a table."""

import bz2
import csv
import gzip
import pickle
import sys

import jax
import numpy as np
import pytest

from tenas_jax.errors import InputError
from tenas_jax.rank.benchmark_table import api_table, read_table
from tenas_jax.spaces.darts import DARTS
from tenas_jax.spaces.nasbench201 import NAS_BENCH_201
from tenas_jax.spaces.strings import genotype_json


@pytest.mark.parametrize("name", ["table.csv", "table.csv.gz"])
def test_rank_and_optimum(tmp_path, rng, name):
    values = rng.permutation(np.repeat(np.arange(50.0, 60.0), 2))  # every value twice
    lines = [f"a{number},{value},x" for number, value in enumerate(values)]
    path = tmp_path / name
    with gzip.open(path, "wt") if path.suffix == ".gz" else path.open("w") as file:
        file.write("\n".join(["architecture,test_accuracy,note", *lines]) + "\n")
    table = read_table(path)
    for number, value in enumerate(values):
        standing = table.standing(f"a{number}")
        assert standing.column == "test_accuracy"
        assert standing.accuracy == value
        assert standing.rank == 1 + (values > value).sum()
        assert standing.architectures == 20
        assert standing.optimum == 59
        assert values[int(standing.best[1:])] == 59


def test_columns_are_chosen_by_name(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("accuracy_a,architecture,accuracy_b\n1,x,4\n2,y,\n")
    assert read_table(path, "accuracy_a").standing("y").rank == 1
    with pytest.raises(InputError, match=r"2 columns .*accuracy_a, accuracy_b"):
        read_table(path)
    with pytest.raises(InputError, match="no column 'accuracy_c'"):
        read_table(path, "accuracy_c")
    # An empty field says that there is none, as where a part of a space was trained.
    assert read_table(path, "accuracy_b").accuracies == {"x": 4}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "0 columns"),
        ("architecture,score\nx,1\n", "0 columns"),
        ("name,accuracy\nx,1\n", "no column 'architecture'"),
        ("architecture,accuracy\nx\n", "line 2 .* None as accuracy"),
        ("architecture,accuracy\nx,high\n", "'high' as accuracy"),
        ("architecture,accuracy\nx,inf\n", "'inf' as accuracy; an accuracy is finite"),
        ("architecture,accuracy\n", "holds no accuracy"),
        ("architecture,accuracy\nx,nan\n", "holds no accuracy"),
        ("architecture,accuracy\nx,\n", "holds no accuracy"),
        ("normal,reduce,accuracy\nskip_connect~0,skip_connect~0,3\n", "line 2 of .*: "),
    ],
)
def test_bad_tables(tmp_path, text, message):
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_table(path)


def test_what_is_missing_is_not_found(tmp_path):
    """An architecture without an accuracy is as if it were not there."""
    path = tmp_path / "table.csv"
    path.write_text("architecture,accuracy\nx,nan\ny,1\n")
    for name in ("x", "z"):
        with pytest.raises(InputError, match="does not hold the architecture"):
            read_table(path).standing(name)


def test_genotypes_as_json_are_found(tmp_path):
    """Tables may write a cell as `--architectures` reads it."""
    masks = DARTS.sample(jax.random.key(0), 3)
    path = tmp_path / "table.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["architecture", "accuracy"], *([genotype_json(DARTS, m), n] for n, m in enumerate(masks))])
    table = read_table(path)
    table.check_about(DARTS)
    assert [table.standing(DARTS.format(mask)).accuracy for mask in masks] == [0, 1, 2]
    with pytest.raises(InputError, match="holds no architecture of nasbench201"):
        table.check_about(NAS_BENCH_201)


def test_byte_order_marks_are_no_part_of_a_column(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("architecture,accuracy\nx,1\n", encoding="utf-8-sig")
    assert read_table(path).accuracies == {"x": 1.0}


def test_unreadable_files(tmp_path, monkeypatch):
    (tmp_path / "plain.csv.gz").write_text("architecture,accuracy\n")
    whole = gzip.compress(b"architecture,accuracy\n" + b"x,1\n" * 1000)
    (tmp_path / "half.csv.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "packed.csv").write_bytes(whole)
    for path in ("plain.csv.gz", "half.csv.gz", "packed.csv", "missing.csv"):
        with pytest.raises(InputError, match="cannot be read as csv"):
            read_table(tmp_path / path)
    monkeypatch.setitem(sys.modules, "nats_bench", None)
    with pytest.raises(InputError, match="needs the package nats_bench, which is not installed"):
        read_table(tmp_path)


ARCHITECTURES = [
    "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|none~1|avg_pool_3x3~2|",
    "|none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|",
]


def nats_bench_file(path):
    """A topology file of NATS-Bench, of two architectures and two seeds, written by the package's own classes."""
    api_utils = pytest.importorskip("nats_bench.api_utils", reason="nats_bench is not installed (extra `test`)")
    infos = {}
    for number, string in enumerate(ARCHITECTURES):
        infos[number] = {}
        for epochs in (12, 200):
            result = api_utils.ArchResults(number, string)
            for dataset, split in (("cifar10", "ori-test"), ("cifar100", "x-test")):
                for seed in (777, 888):
                    losses, accuracies = ({epoch: float(epoch) for epoch in range(epochs)} for _ in range(2))
                    trial = api_utils.ResultsCount(dataset, None, accuracies, losses, 1.0, 1.0, {}, seed, epochs, None)
                    trial.train_times = dict.fromkeys(range(epochs), 1.0)
                    accuracy = 90.0 + number + (seed - 777) / 111 + (epochs == 200) - 30 * (dataset == "cifar100")
                    by_epoch = {f"{split}@{epoch}": float(epoch) for epoch in range(epochs)}
                    trial.update_eval({**by_epoch, f"{split}@{epochs - 1}": accuracy}, by_epoch, by_epoch)
                    result.update(dataset, seed, trial)
            infos[number][f"{epochs:02d}"] = result.state_dict()
    content = {"meta_archs": ARCHITECTURES, "arch2infos": infos, "evaluated_indexes": [0, 1]}
    with bz2.BZ2File(path, "w") as file:
        pickle.dump(content, file)


@pytest.mark.parametrize(("dataset", "expected"), [(None, 91.5), ("cifar10", 91.5), ("cifar100", 61.5)])
def test_nats_bench_is_read_through_its_own_package(tmp_path, dataset, expected):
    """After 200 epochs, the mean over seeds, of the test split that papers report."""
    path = tmp_path / "NATS-tss-v1_0-3ffb9.pickle.pbz2"
    nats_bench_file(path)
    table = read_table(path, dataset)
    assert table.accuracies == {ARCHITECTURES[0]: expected, ARCHITECTURES[1]: expected + 1}
    assert table.standing(ARCHITECTURES[0]).rank == 2


def test_an_unknown_data_set_of_an_api_is_named(tmp_path):
    path = tmp_path / "NATS-tss-v1_0-3ffb9.pickle.pbz2"
    nats_bench_file(path)
    with pytest.raises(InputError, match="no test accuracy of architecture 0 on imagenet"):
        read_table(path, "imagenet")


def test_what_a_package_cannot_read_is_one_sentence(tmp_path):
    pytest.importorskip("nats_bench", reason="nats_bench is not installed (extra `test`)")
    path = tmp_path / "broken.pickle.pbz2"
    path.write_bytes(b"not a bz2 file")
    with pytest.raises(InputError, match="nats_bench cannot read"):
        read_table(path)
    path = tmp_path / "NAS-Bench-201-v1_1-096897.pth"
    path.write_bytes(b"")
    with pytest.raises(InputError, match=r"nas_201_api"):
        read_table(path)


class Api:
    """What NAS-Bench-201's package offers, as its version 2.1 declares it."""

    def __len__(self):
        return len(ARCHITECTURES)

    def arch(self, index: int):
        return ARCHITECTURES[index]

    def get_more_info(self, index, dataset, iepoch=None, hp="12", is_random=True):
        assert (iepoch, hp, is_random) == (None, "200", False)
        return {"train-accuracy": 100.0, "test-accuracy": {"cifar10": 90.0, "cifar100": 70.0}[dataset] + index}


def test_an_api_object_of_nas_bench_201():
    assert api_table(Api(), "cifar100").accuracies == {ARCHITECTURES[0]: 70.0, ARCHITECTURES[1]: 71.0}
    with pytest.raises(InputError, match="on svhn"):
        api_table(Api(), "svhn")
