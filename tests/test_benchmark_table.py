"""Tables of accuracies: what an architecture reaches, and what is wrong with a table."""

import gzip

import numpy as np
import pytest

from tenas_jax.benchmark_table import read_table
from tenas_jax.errors import InputError


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
    with pytest.raises(InputError, match=r"line 3 of .* has '' as accuracy_b"):
        read_table(path, "accuracy_b")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "0 columns"),
        ("architecture,score\nx,1\n", "0 columns"),
        ("name,accuracy\nx,1\n", "no column 'architecture'"),
        ("architecture,accuracy\nx\n", "line 2 .* None as accuracy"),
        ("architecture,accuracy\nx,high\n", "'high' as accuracy"),
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


def test_byte_order_marks_are_no_part_of_a_column(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("architecture,accuracy\nx,1\n", encoding="utf-8-sig")
    assert read_table(path).accuracies == {"x": 1.0}


def test_unreadable_files(tmp_path):
    (tmp_path / "plain.csv.gz").write_text("architecture,accuracy\n")
    whole = gzip.compress(b"architecture,accuracy\n" + b"x,1\n" * 1000)
    (tmp_path / "half.csv.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "packed.csv").write_bytes(whole)
    for path in ("plain.csv.gz", "half.csv.gz", "packed.csv", "missing.csv"):
        with pytest.raises(InputError, match="cannot be read as csv"):
            read_table(tmp_path / path)
    with pytest.raises(InputError, match="needs the package nats_bench, which is not installed"):
        read_table(tmp_path)
