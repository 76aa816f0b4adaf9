"""Shards: whatever is not what was written there for this very evaluation is computed again, or refused."""

import shutil
import zipfile

import numpy as np
import pytest

from tenas_jax.errors import InputError
from tenas_jax.records.shards import Shards, Table

NAMES = ("condition_number", "hamming")


def table(number, m=3):
    values = {name: np.arange(2.0 * m).reshape(2, m) + 10 * number + place for place, name in enumerate(NAMES)}
    return Table(values, {name: np.full((2, m), "full rank", "U32") for name in NAMES})


def filled(path, identity=None, environment=None, count=3):
    with Shards(path, identity or {"seed": 0}, environment) as shards:
        for number in range(count):
            shards.save(number, table(number))
    return path


def loaded(path, identity=None, environment=None, count=3, **expected):
    with Shards(path, identity or {"seed": 0}, environment) as shards:
        return [shards.load(number, **expected) for number in range(count)]


def assert_equal(found, wanted):
    for name in NAMES:
        np.testing.assert_array_equal(found.values[name], wanted.values[name])
        np.testing.assert_array_equal(found.health[name], wanted.health[name])


def test_what_is_saved_comes_back(tmp_path):
    path = filled(tmp_path / "parts")
    for number, found in enumerate(loaded(path, names=NAMES, shape=(2, 3))):
        assert_equal(found, table(number))
    with np.load(path / "0000001.npz") as archive:  # still an archive for everybody
        np.testing.assert_array_equal(archive["value hamming"], table(1).values["hamming"])
    with zipfile.ZipFile(path / "0000001.npz") as archive:
        assert archive.testzip() is None


def test_every_changed_byte_is_seen(tmp_path, rng, capsys):
    path = filled(tmp_path / "parts", count=1)
    content = (path / "0000000.npz").read_bytes()
    with Shards(path, {"seed": 0}) as shards:
        for place in range(0, len(content), 7):
            damaged = bytearray(content)
            damaged[place] ^= int(rng.integers(1, 256))
            (path / "0000000.npz").write_bytes(damaged)
            assert shards.load(0) is None
        for cut in range(0, len(content), 31):
            (path / "0000000.npz").write_bytes(content[:cut])
            assert shards.load(0) is None
    assert "0000000.npz is damaged" in capsys.readouterr().err


def test_a_narrower_type_is_not_read_as_numbers(tmp_path):
    """`np.load` compares no checksum of what it reads by parts: half of each number would be taken for one."""
    path = filled(tmp_path / "parts", count=1)
    file = path / "0000000.npz"
    content = file.read_bytes()
    assert content.count(b"'<f8'") == 2
    file.write_bytes(content.replace(b"'<f8'", b"'<f4'", 1))
    assert loaded(path, count=1) == [None]


def test_a_shard_of_another_evaluation_or_number_is_not_taken(tmp_path):
    one, two = filled(tmp_path / "one"), filled(tmp_path / "two", {"seed": 1})
    shutil.copy(two / "0000001.npz", one)
    shutil.copy(one / "0000000.npz", one / "0000002.npz")
    found = loaded(one)
    assert_equal(found[0], table(0))
    assert found[1:] == [None, None]


@pytest.mark.parametrize("damage", ["missing", "empty"])
def test_shards_without_identity_say_whose_they_are(tmp_path, damage):
    path = filled(tmp_path / "parts")
    if damage == "missing":
        (path / "identity.json").unlink()  # a kill in the middle of a clean-up
    else:
        (path / "identity.json").write_bytes(b"")  # a power cut
    with pytest.raises(InputError, match=r"holds shards of another ranking \(0000000\.npz\)"):
        Shards(path, {"seed": 1})
    for number, found in enumerate(loaded(path)):
        assert_equal(found, table(number))


def test_another_environment_is_refused(tmp_path):
    path = filled(tmp_path / "parts", environment={"jax": "0.10.2"})
    with pytest.raises(InputError, match=r"jax: was 0\.10\.2, is 0\.10\.3\); finish it there"):
        Shards(path, {"seed": 0}, {"jax": "0.10.3"})
    assert None not in loaded(path, environment={"jax": "0.10.2"})


def test_shards_of_the_version_before_are_refused(tmp_path):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "identity.json").write_text('{"seed": 0}')
    with pytest.raises(InputError, match="by an earlier version"):
        Shards(tmp_path / "parts", {"seed": 0})


def test_names_and_shapes_are_those_asked_for(tmp_path):
    path = filled(tmp_path / "parts", count=1)
    assert loaded(path, count=1, names=("hamming",)) == [None]
    assert loaded(path, count=1, shape=(2, 4)) == [None]
    assert loaded(path, count=1, names=NAMES[::-1], shape=(2, 3)) != [None]


def test_removal_takes_the_name_first(tmp_path, monkeypatch):
    """A kill in the middle of a removal leaves nothing under the folder's name."""
    path = filled(tmp_path / "parts")
    monkeypatch.setattr("os.unlink", lambda *arguments, **options: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        Shards(path, {"seed": 0}).remove()
    monkeypatch.undo()
    assert not path.exists()
    assert loaded(path, {"seed": 1}) == [None] * 3
