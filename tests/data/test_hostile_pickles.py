"""No pickle of images runs anything, reaches memory that is not its own, takes more than its size, or changes numpy."""

import pickle
import struct
import tracemalloc
from contextlib import nullcontext

import numpy as np
import pytest

from tenas_jax.data import _pickles, open_images
from tenas_jax.data._pickles import UnfinishedArray, load_pickle
from tenas_jax.errors import InputError

REFUSED = "cannot be read as a pickle of numpy arrays and plain containers"


class Calls:
    """Pickles as a call of a function, and as a state that is set on what comes back."""

    def __init__(self, function, *arguments, state=None):
        self.reduced = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.reduced


def refusal(path, content):
    """What is said of a file that must be refused, as a pickle and as images."""
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_pickle(path)
    with pytest.raises(InputError):
        open_images("imagenet16-120", path)
    return str(caught.value)


RECONSTRUCT = np.zeros(1).__reduce__()[0]
STRUCTURE = (3, "|", None, ("f0",), {"f0": (np.dtype("O"), 0)}, 8, 1, 0)  # the last number denies the object in it
POINTER = np.int64(0x4141414141414141).tobytes()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("member", ["data", "labels"])
def test_a_structured_dtype_whose_flags_lie_is_refused(tmp_path, protocol, member):
    dtype = Calls(np.dtype, "V8", False, True, state=STRUCTURE)
    array = Calls(RECONSTRUCT, np.ndarray, (0,), b"b", state=(1, (1,), dtype, False, POINTER))
    scalar = Calls(np.float64(0).__reduce__()[0], dtype, POINTER)
    for attack in (array, scalar):
        content = {"data": np.zeros((1, 3), np.uint8), "labels": [1], member: attack}
        assert REFUSED in refusal(tmp_path / "batch", pickle.dumps(content, protocol))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "name", ["O", "V8", "object", "i4,O", "m8[s]", "S0", "S", "u1,u1", "|O8", "float64", "a3", "U1_"]
)
def test_dtypes_that_are_no_plain_numbers_or_strings_are_refused(tmp_path, protocol, name):
    attack = pickle.dumps({"data": Calls(np.dtype, name, False, True)}, protocol)
    assert "neither of numbers" in refusal(tmp_path / "batch", attack)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_numpys_own_dtypes_stay_as_they_are(tmp_path, protocol):
    """Real dtypes are shared by the whole process; setting a state on one changes all uint8 arrays."""
    state = (3, "|", None, None, None, 4096, 64, 63)
    path = tmp_path / "batch"
    path.write_bytes(pickle.dumps({"data": Calls(np.dtype, "u1", False, True, state=state)}, protocol))
    load_pickle(path)
    plain = np.dtype("u1")
    assert (plain.itemsize, plain.alignment, plain.flags) == (1, 1, 0)
    swapped = Calls(np.dtype, "i8", False, True, state=(3, ">", None, None, None, -1, -1, 0))
    assert "byte order" in refusal(path, pickle.dumps(swapped, protocol))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "arguments",
    [
        ((64, 3072), np.dtype("u1"), b"abc", -300_000),  # memory before its buffer
        ((64, 3072), np.dtype("u1")),  # memory that nobody has written to
        ((1 << 40,), np.dtype("u1")),
    ],
)
def test_arrays_are_not_made_by_their_constructor(tmp_path, protocol, arguments):
    attack = pickle.dumps({"data": Calls(np.ndarray, *arguments)}, protocol)
    assert "no constructor" in refusal(tmp_path / "batch", attack)


@pytest.mark.parametrize(
    "shape", [(5,), (3,), (1 << 39, 1 << 39), (-1, -4), (4.0,), (True, 4), [4], (1,) * 33, (1 << 41, 0)]
)
def test_an_array_is_as_long_as_its_bytes(tmp_path, shape):
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        attack = Calls(RECONSTRUCT, np.ndarray, (0,), b"b", state=(1, shape, np.dtype("u1"), False, b"four"))
        assert "an array " in refusal(tmp_path / "batch", pickle.dumps({"data": attack}, protocol))


def test_an_array_without_its_bytes_is_no_array(tmp_path):
    """`_reconstruct` alone, which hands out whatever memory is there."""
    path = tmp_path / "batch"
    path.write_bytes(pickle.dumps({"data": Calls(RECONSTRUCT, np.ndarray, (64, 3072), b"b")}, 2))
    assert isinstance(load_pickle(path)["data"], UnfinishedArray)
    with pytest.raises(InputError, match="its `data` is UnfinishedArray"):
        open_images(path=path)


def test_an_array_and_its_second_mention_are_the_same(tmp_path):
    array = np.arange(6, dtype=np.int16).reshape(2, 3)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        for order in ("C", "F"):
            (tmp_path / "batch").write_bytes(pickle.dumps([np.asarray(array, order=order)] * 2, protocol))
            loaded = load_pickle(tmp_path / "batch")
            assert loaded[0] is loaded[1]
            np.testing.assert_array_equal(loaded[0], array)


def test_a_character_beyond_all_characters_is_refused(tmp_path):
    state = (1, (1,), np.dtype("U1"), False, b"\xff\xff\xff\xff")
    attack = pickle.dumps(Calls(RECONSTRUCT, np.ndarray, (0,), b"b", state=state))
    assert "no character" in refusal(tmp_path / "batch", attack)


NESTED = b"N\x85" + b"".join(b"q\x00h\x00\x86" for _ in range(60))  # 2^60 elements to whoever counts or compares them
BIG = struct.pack("<Q", 1 << 32)
DAMAGED = {
    "memo of 2^32 places": b"Nr\xf0\xff\xff\xff.",
    "memo of 10^12 places": b"Np1000000000000\n.",
    "bytes": b"\x8e" + BIG + b".",
    "short bytes": b"B\xff\xff\xff\xff.",
    "bytearray": b"\x96" + BIG + b".",
    "text": b"\x8d" + BIG + b".",
    "string of negative length": b"T\xff\xff\xff\xff.",
    "long of negative length": b"\x8b\xff\xff\xff\xff.",
    "bytes of any length": b"c__builtin__\nbytes\n\x8e" + BIG + b"\x85R.",
    "zeros": b"c__builtin__\nbytes\nJ\xff\xff\xff\x7f\x85R.",
    "one string encoded again and again": b"X\x10\x27\x00\x00" + b"a" * 10_000 + b"q\x000" + b"c_codecs\nencode\nq\x010"
    b"(" + b"h\x01h\x00X\x06\x00\x00\x00latin1\x86R" * 5000 + b"l.",
    "names that are nested tuples": NESTED + NESTED + b"\x93.",
    "an encoding that is a nested tuple": b"c_codecs\nencode\nU\x01a" + NESTED + b"\x86R.",
    "a key that is a nested tuple": b"}" + NESTED + b"Ns.",
    "a key that is a number": b"}K\x01Ns.",
    "an object of the standard library": b"(cdatetime\ndatetime\no.",
    "an instance": b"(idatetime\ndatetime\n.",
    "a new object": b"cnumpy\nndarray\nK\x05\x85\x81.",
    "attributes of a constructor": b"cnumpy\ndtype\n}U\x0c__defaults__Nsb.",
    "attributes of an array": b"]}U\x01aNsb.",
    "a call of what is no name": b"U\x01aK\x01\x85R.",
    "an object outside": b"P1\n.",
    "a buffer outside": b"\x97.",
    "an extension": b"\x82\x01.",
    "nothing on the stack": b"a.",
    "a mark as a value": b"](a.",
    "a mark at the end": b"(.",
    "no mark": b"]e.",
    "half a pair": b"}(U\x01au.",
    "appended to no list": b"}K\x01a.",
    "an unknown place of the memo": b"h\x07.",
    "no end": b"]",
    "no quotes": b"Sabc\n.",
    "10^5 digits": b"I" + b"1" * 100_000 + b"\n.",
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_damage_is_refused_in_no_more_memory_than_the_file(tmp_path, content):
    path = tmp_path / "batch"
    path.write_bytes(content)
    harmless = content[-1:] == b"." and content[:2] in (
        b"Nr",
        b"Np",
    )  # a memo is a dict here, and not as long as its largest number
    tracemalloc.start()
    with nullcontext() if harmless else pytest.raises(InputError, match="cannot be read as a pickle") as caught:
        load_pickle(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert harmless or len(str(caught.value)) < 500
    assert peak < 4_000_000 + 20 * len(content)


def test_a_large_file_of_small_objects_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(_pickles, "MOST_OPERATIONS", 1000)
    assert "more than 1000 operations" in refusal(tmp_path / "batch", b"(" + b"]" * 1000 + b"l.")
    monkeypatch.setattr(_pickles, "LARGEST_FILE", 100)
    assert "it has more than" in refusal(tmp_path / "batch", b"(" + b"]" * 200 + b"l.")


@pytest.mark.parametrize(
    "labels", [["1", 2], [1.0, 2.0], [[1], [2]], 3, None, {"a": 1}, [1, 1 << 70], np.ones((2, 1), int)]
)
def test_labels_that_are_no_whole_numbers_are_refused(tmp_path, labels):
    path = tmp_path / "train_data_batch_1"
    path.write_bytes(pickle.dumps({"data": np.zeros((2, 12), np.uint8), "labels": labels}))
    with pytest.raises(InputError, match="must hold `labels`, one whole number for each of its 2 images"):
        open_images("imagenet16-120", path)


def test_protocol_0_of_python_2(tmp_path):
    """Strings as Python 2 wrote them, with escapes."""
    path = tmp_path / "batch"
    path.write_bytes(
        b"(dp1\nS'data'\np2\ncnumpy.core.multiarray\n_reconstruct\np3\n(cnumpy\nndarray\np4\n(I0\ntp5\nS'b'\np6\ntp7\nRp8\n"
        b"(I1\n(I1\nI3\ntp9\ncnumpy\ndtype\np10\n(S'u1'\np11\nI0\nI1\ntp12\nRp13\n(I3\nS'|'\np14\nNNNI-1\nI-1\nI0\ntp15\nbI00\n"
        b"S'\\x00\\xff\\''\np16\ntp17\nbsS\"it's\"\np18\nL5L\nsS'f'\nF0.5\ns."
    )
    content = load_pickle(path)
    assert content["data"].tolist() == [[0, 255, 39]]
    assert (content["it's"], content["f"]) == (5, 0.5)
    standard = pickle.loads(path.read_bytes(), encoding="latin1")
    np.testing.assert_array_equal(standard["data"], content["data"])
