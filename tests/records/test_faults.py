"""Kills, power cuts, two processes and damage against whole commands: a short form of benchmarks/fault_campaign.py.

Every outcome is compared with that of an undisturbed run of prune, evolve, exhaustive search and rank.
"""

import multiprocessing
import os
import shutil

import pytest

from common import fault_layers as layers
from common import faults


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    with layers.cheap():
        yield faults.Campaign(tmp_path_factory.mktemp("faults"), seed=1)


def assert_right(campaign, counts, *allowed):
    assert campaign.failures == []
    assert counts["right"] > 0
    assert set(counts) <= {"right", "kills", "told that the place is in use", *allowed}


def test_a_kill_before_a_file_operation(campaign):
    counts = faults.kills_before_operations(campaign, stride=17)
    assert_right(campaign, counts)
    assert counts["kills"] > 9


def test_a_power_cut_loses_nothing(campaign):
    assert_right(campaign, faults.power_cuts(campaign, 16))


def test_damage_is_named_or_made_good(campaign):
    assert_right(campaign, faults.corruptions(campaign, 24), "refused", "named")


@pytest.mark.parametrize("name", ["prune", "evolve", "exhaustive", "rank"])
def test_the_layer_sees_every_change_of_the_disc(campaign, name):
    """A replay of all operations is the folder itself: nothing is written past the layer."""
    at = campaign.new_folder()
    with layers.Layer(at) as layer:
        layers.called(campaign.commands[name](at))
    again = campaign.new_folder()
    layer.after_power_cut(layer.count, "everything").write_to(again)
    files = {path.relative_to(at): path.read_bytes() for path in at.rglob("*") if path.is_file()}
    assert files == {path.relative_to(again): path.read_bytes() for path in again.rglob("*") if path.is_file()}
    # At its end a command has synced all that it keeps.
    synced = campaign.new_folder()
    layer.after_power_cut(layer.count, "nothing unsynced").write_to(synced)
    kept = {path.relative_to(synced): path.read_bytes() for path in synced.rglob("*") if path.is_file()}
    assert {path: kept[path] for path in files} == files


def test_a_layer_that_loses_writes_loses_what_is_not_synced(tmp_path):
    """The instrument itself: without a sync a written file comes back empty, or not at all."""
    with layers.Layer(tmp_path) as layer:
        opened = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
        os.write(opened, b"content")
        os.close(opened)
    found = {}
    for model in layers.MODELS:
        at = tmp_path / model
        layer.after_power_cut(layer.count, model).write_to(at)
        found[model] = (at / "file").read_bytes() if (at / "file").exists() else None
        shutil.rmtree(at)
    assert list(found.values()) == [None, b"", b"con", b"content"]


@pytest.mark.slow
def test_processes_that_are_killed_and_two_at_once(campaign):
    starter = multiprocessing.get_context("forkserver")
    starter.set_forkserver_preload(faults.PRELOADED)
    assert_right(campaign, faults.real_kills(campaign, 3, starter))
    counts = faults.two_processes(campaign, 4, starter)
    assert_right(campaign, counts)
    assert counts["told that the place is in use"] == 4
