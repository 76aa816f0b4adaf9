"""NAS-Bench-Macro against its table: costs, and which codes are the same network."""

import csv
import gzip

import numpy as np
import pytest
from conftest import outside_file

from tenas_jax.networks.cost import costs
from tenas_jax.spaces.equal_cells import representatives
from tenas_jax.spaces.nasbench_macro import NAS_BENCH_MACRO


@pytest.fixture(scope="module")
def rows():
    with gzip.open(outside_file("TENAS_SPACES") / "nasbench_macro.csv.gz", "rt") as file:
        return list(csv.DictReader(file))


def test_the_table_is_the_space(rows):
    assert [row["code"] for row in rows] == NAS_BENCH_MACRO.formats(NAS_BENCH_MACRO.enumerated())


def test_costs_are_those_of_the_table(rows):
    found = costs(NAS_BENCH_MACRO, NAS_BENCH_MACRO.enumerated())
    assert found.parameters.tolist() == [int(row["parameters"]) for row in rows]
    assert found.flops.tolist() == [int(row["multiply_adds"]) for row in rows]


def test_networks_that_were_trained_as_one_are_equal(rows):
    masks = NAS_BENCH_MACRO.enumerated()
    equal = representatives(NAS_BENCH_MACRO, masks)
    assert NAS_BENCH_MACRO.formats(equal) == [row["trained_as"] for row in rows]
    assert (representatives(NAS_BENCH_MACRO, equal) == equal).all()
    assert len(np.unique(equal, axis=0)) == 3969
