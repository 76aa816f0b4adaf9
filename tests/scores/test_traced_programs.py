"""Programs that are kept between processes: the same bits, never those of another program."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import WHERE_TRACED

from tenas_jax import NAS_BENCH_201
from tenas_jax.data import open_images
from tenas_jax.scores import programs, traced_programs
from tenas_jax.scores.catalogue import chosen_scores
from tenas_jax.scores.mask_program import MaskProgram
from tenas_jax.spaces.registry import SPACES


@pytest.fixture
def kept(monkeypatch, tmp_path):
    """The folder, which does not exist yet."""
    place = tmp_path / "traced"
    monkeypatch.setattr(traced_programs, "folder", lambda: place)
    return place


@pytest.mark.parametrize(
    ("cache", "place"), [("kept", Path("kept/traced")), ("gs://a/b", None), ("", None), (None, None)]
)
def test_where_they_are_kept(monkeypatch, cache, place):
    monkeypatch.setattr(traced_programs.jax, "config", SimpleNamespace(jax_compilation_cache_dir=cache))
    assert WHERE_TRACED() == place


def doubled(mask, weights):
    return 2 * jnp.where(mask, weights, jnp.zeros_like(weights)).sum()


def refused(mask, weights):
    raise AssertionError("what is kept is not traced")


@pytest.fixture
def masks(rng):
    return rng.random((5, *NAS_BENCH_201.mask_shape)) > 0.5


@pytest.fixture
def weights(rng):
    return rng.normal(size=NAS_BENCH_201.mask_shape)


def test_the_next_process_does_not_trace(kept, masks, weights):
    expected = MaskProgram(doubled)(masks, weights)
    np.testing.assert_allclose(expected, 2 * (masks * weights).sum((1, 2, 3)))
    np.testing.assert_array_equal(MaskProgram(doubled, "twice")(masks, weights), expected)
    assert len(list(kept.iterdir())) == 1
    np.testing.assert_array_equal(MaskProgram(refused, "twice")(masks, weights), expected)


@pytest.mark.parametrize("change", ["name", "dtype", "shape", "context", "source"])
def test_another_program_is_not_taken_for_it(kept, masks, weights, change, monkeypatch):
    MaskProgram(doubled, "twice")(masks, weights)
    name = "thrice" if change == "name" else "twice"
    if change == "dtype":
        weights = weights.astype(np.float32)
    if change == "shape":
        masks, weights = masks[:, :, :3], weights[:, :3]
    if change == "context":
        monkeypatch.setattr(traced_programs, "context", lambda: "another one")
    if change == "source":
        monkeypatch.setattr(traced_programs, "_made_of", lambda: ("another one",))
    with pytest.raises(AssertionError, match="not traced"):
        MaskProgram(refused, name)(masks, weights)
    MaskProgram(doubled, name)(masks, weights)
    assert len(list(kept.iterdir())) == 2


def test_what_has_no_name_or_no_folder_is_not_kept(kept, masks, weights, monkeypatch):
    MaskProgram(doubled)(masks, weights)
    assert not kept.exists()
    monkeypatch.setattr(traced_programs, "folder", lambda: None)
    MaskProgram(doubled, "twice")(masks, weights)
    assert not kept.exists()


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty"])
def test_a_damaged_file_is_made_anew(kept, masks, weights, damage):
    expected = MaskProgram(doubled, "twice")(masks, weights)
    (path,) = kept.iterdir()
    whole = path.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    path.write_bytes({"flipped": flipped, "cut": whole[:-1], "empty": b""}[damage])
    np.testing.assert_array_equal(MaskProgram(doubled, "twice")(masks, weights), expected)
    np.testing.assert_array_equal(MaskProgram(refused, "twice")(masks, weights), expected)


def test_a_folder_that_cannot_be_written_to(kept, masks, weights):
    kept.write_text("a file")
    np.testing.assert_array_equal(MaskProgram(doubled, "twice")(masks, weights), MaskProgram(doubled)(masks, weights))
    assert kept.read_text() == "a file"


def test_the_package_is_known_by_its_source():
    digest, *versions = traced_programs._made_of()
    assert len(digest) == 64
    assert jax.__version__ in versions
    assert np.__version__ in versions


def test_the_default_scores_are_the_same_to_the_bit(kept, monkeypatch):
    masks, source = NAS_BENCH_201.sample(jax.random.key(0), 6), open_images()
    scores = chosen_scores(NAS_BENCH_201, NAS_BENCH_201.family.default_scores)

    def scored():
        programs._KEPT.programs.clear()
        return [
            jax.tree.leaves(program.compiled(masks, *program.draw(jax.random.key(1), source)))
            for program in programs.score_programs(NAS_BENCH_201, scores)
        ]

    monkeypatch.setattr(traced_programs, "folder", lambda: None)
    expected = scored()
    monkeypatch.setattr(traced_programs, "folder", lambda: kept)
    for again in (scored(), scored()):
        for one, other in zip(again, expected, strict=True):
            np.testing.assert_array_equal(one, other)
    # Three of one cell, nine of three; edges and ends of the patterns.
    assert len(list(kept.iterdir())) == 3 + 9 + 2
    programs._KEPT.programs.clear()


def test_programs_of_somebodys_own_space_are_not_kept(kept):
    space = replace(NAS_BENCH_201)
    assert SPACES[space.name] is not space
    programs._KEPT.programs.clear()
    scores = chosen_scores(space, ["condition_number_no_batch_norm"])
    (program,) = programs.score_programs(space, scores)
    program.compiled(space.sample(jax.random.key(0), 2), *program.draw(jax.random.key(1), open_images()))
    assert not kept.exists()
