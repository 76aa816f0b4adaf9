"""Between a command and the disc: kills before a file operation, power cuts that lose what was not synced, cheap commands.

Every change of the disc that the package makes goes through functions of `os`. A layer stands in for them below one folder.
A kill is an exception before an operation, after which no further one reaches the disc, as of a process that is gone.
A power cut is a replay of the operations up to one of them: what was synced is kept, and of the rest what a model says.
"""

import contextlib
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

SPACE = '''"""A space of 64 architectures."""

from tenas_jax.spaces.space import SearchSpace

SPACE = SearchSpace(
    name="small",
    operators=("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3"),
    edges=((0, 1), (0, 2), (1, 2)),
)
'''
SHARD = 24  # architectures
REPEATS = 2
MODELS = ("nothing unsynced", "names without data", "names and half of the data", "everything")
"""What a power cut leaves of what was not synced: from a file system that keeps nothing to one that keeps all."""


class Killed(BaseException):
    """The process is gone."""


class Layer:
    """Stands in for the functions of `os` that change a disc, below one folder.

    Attributes:
        log: the operations until now, for `after_power_cut`.
        count: how many.
    """

    def __init__(self, root: Path, before: Callable[[int], None] = lambda count: None):
        """Takes what is called with the number of an operation before it; it may raise `Killed`."""
        self.root = Path(os.path.realpath(root))
        self.log: list[tuple[Any, ...]] = []
        self.count = 0
        self._before = before
        self._dead = False
        self._files: dict[int, tuple[str, bool]] = {}
        self._tree = Disc.of(self.root)

    def __enter__(self) -> "Layer":
        names = ("open", "write", "fsync", "close", "ftruncate", "replace", "rename", "unlink", "mkdir", "rmdir")
        self._real = {name: getattr(os, name) for name in names}
        self._patches = contextlib.ExitStack()
        for name in names:
            self._patches.enter_context(mock.patch.object(os, name, getattr(self, f"_{name}")))
        return self

    def __exit__(self, *exception: object) -> None:
        self._patches.close()
        for opened in list(self._files):  # as the system does of a process that is gone
            os.close(opened)

    def after_power_cut(self, operations: int, model: str) -> "Disc":
        """The disc after a power cut.

        Args:
            operations: how many had been done.
            model: one of `MODELS`.
        """
        disc = self._tree.copy()
        for operation in self.log[:operations]:
            disc.do(operation)
        return disc.cut(model)

    def _step(self, *operation: Any) -> None:
        if not self._dead:
            try:
                self._before(self.count)
            except Killed:
                self._dead = True
        if self._dead:
            raise Killed
        self.count += 1
        self.log.append(operation)

    def _inside(self, path: Any) -> str | None:
        whole = os.path.abspath(os.fspath(path))
        root = str(self.root)
        return os.path.relpath(whole, root) if whole.startswith(root + os.sep) or whole == root else None

    def _open(self, path, flags, mode=0o777, **more):
        inside = self._inside(path)
        new = inside is not None and flags & os.O_CREAT and not os.path.lexists(path)
        if new:
            self._step("create", inside)
        opened = self._real["open"](path, flags, mode, **more)
        if inside is not None:
            self._files[opened] = inside, os.path.isdir(path)
        return opened

    def _write(self, opened, data):
        if opened in self._files:
            self._step("write", self._files[opened][0], bytes(data))
        return self._real["write"](opened, data)

    def _fsync(self, opened):
        if opened in self._files:
            path, folder = self._files[opened]
            self._step("sync folder" if folder else "sync", path)
        return self._real["fsync"](opened)

    def _ftruncate(self, opened, length):
        if opened in self._files:
            self._step("truncate", self._files[opened][0], length)
        return self._real["ftruncate"](opened, length)

    def _close(self, opened):
        self._files.pop(opened, None)
        return self._real["close"](opened)

    def _replace(self, source, target):
        return self._moved("replace", source, target)

    def _rename(self, source, target):
        return self._moved("rename", source, target)

    def _moved(self, name, source, target):
        if (inside := self._inside(source)) is not None:
            self._step("rename", inside, self._inside(target))
        return self._real[name](source, target)

    def _unlink(self, path, **more):
        if (inside := self._inside(path)) is not None and os.path.lexists(path):
            self._step("unlink", inside)
        return self._real["unlink"](path, **more)

    def _mkdir(self, path, *mode, **more):
        if (inside := self._inside(path)) is not None and not os.path.lexists(path):
            self._step("mkdir", inside)
        return self._real["mkdir"](path, *mode, **more)

    def _rmdir(self, path, **more):
        if (inside := self._inside(path)) is not None:
            self._step("rmdir", inside)
        return self._real["rmdir"](path, **more)


class Disc:
    """Files and folders, twice: as every process sees them, and as they are on the disc."""

    def __init__(self) -> None:
        """An empty folder, number 0."""
        self.files: dict[int, bytes] = {}
        self.synced_files: dict[int, bytes] = {}
        self.folders: dict[int, dict[str, int]] = {0: {}}
        self.synced_folders: dict[int, dict[str, int]] = {0: {}}
        self._next = 1

    @classmethod
    def of(cls, root: Path) -> "Disc":
        """What is in a folder, all of it synced.

        Args:
            root: the folder.
        """
        disc = cls()
        for folder, folders, files in os.walk(root):
            inside = Path(folder).relative_to(root)
            for name in folders:
                disc.do(("mkdir", str(inside / name)))
            for name in files:
                disc.do(("create", str(inside / name)))
                disc.do(("write", str(inside / name), (Path(folder) / name).read_bytes()))
        disc.synced_files = dict(disc.files)
        disc.synced_folders = {number: dict(names) for number, names in disc.folders.items()}
        return disc

    def copy(self) -> "Disc":
        """Another one, to go on with."""
        other = Disc()
        other.files, other.synced_files = dict(self.files), dict(self.synced_files)
        other.folders = {number: dict(names) for number, names in self.folders.items()}
        other.synced_folders = {number: dict(names) for number, names in self.synced_folders.items()}
        other._next = self._next
        return other

    def do(self, operation: tuple[Any, ...]) -> None:
        """Does an operation.

        Args:
            operation: of `Layer.log`.
        """
        kind, path, *rest = operation
        if kind in ("create", "mkdir"):
            folder, name = self._place(path)
            folder[name] = self._next
            if kind == "create":
                self.files[self._next] = self.synced_files[self._next] = b""
            else:
                self.folders[self._next], self.synced_folders[self._next] = {}, {}
            self._next += 1
        elif kind == "write":  # the package appends, or fills a new file
            self.files[self._number(path)] += rest[0]
        elif kind == "truncate":
            self.files[self._number(path)] = self.files[self._number(path)][: rest[0]]
        elif kind == "sync":
            self.synced_files[self._number(path)] = self.files[self._number(path)]
        elif kind == "sync folder":
            self.synced_folders[self._number(path)] = dict(self.folders[self._number(path)])
        elif kind == "rename":
            folder, name = self._place(path)
            number = folder.pop(name)
            folder, name = self._place(rest[0])
            folder[name] = number
        else:
            folder, name = self._place(path)
            del folder[name]

    def cut(self, model: str) -> "Disc":
        """What is there when the power is back.

        Args:
            model: one of `MODELS`.
        """
        other = self.copy()
        if model == "everything":
            return other
        other.files = dict(self.synced_files)
        if model == "nothing unsynced":
            other.folders = {number: dict(names) for number, names in self.synced_folders.items()}
        elif model == "names and half of the data":
            for number, data in self.files.items():
                kept = len(self.synced_files[number])
                if data[:kept] == self.synced_files[number]:
                    other.files[number] = data[: (kept + len(data)) // 2]
        return other

    def write_to(self, folder: Path) -> None:
        """Makes all of it in an empty folder.

        Args:
            folder: where.
        """

        def fill(number: int, path: Path) -> None:
            path.mkdir(exist_ok=True)
            for name, inner in self.folders[number].items():
                if inner in self.folders:
                    fill(inner, path / name)
                else:
                    (path / name).write_bytes(self.files[inner])

        fill(0, folder)

    def _number(self, path: str) -> int:
        number = 0
        for name in Path(path).parts:
            number = self.folders[number][name]
        return number

    def _place(self, path: str) -> tuple[dict[str, int], str]:
        return self.folders[self._number(str(Path(path).parent))], Path(path).name


class CheapScorer:
    """Stands in for `scorer.Scorer`: numbers from a hash of the mask, so that a command takes a moment."""

    shard_size = SHARD

    def __init__(self, space, scores, source, *, repeats=REPEATS, seed=0, **more):
        self.space = space
        self.scores = tuple(name for name, score in scores.items() if score.work is not None)
        self.drawn = ((),) * repeats if not self.scores else (((),) * repeats,) * len(self.scores)
        self.repeats, self.compile_seconds, self.shard_size = repeats, 0.0, SHARD
        self._seed = seed

    def __call__(self, masks: np.ndarray):
        """Numbers of single architectures; takes masks (m, cells, edges, operators)."""
        from tenas_jax.records.shards import Table

        repeats = len(self.drawn[0])
        values = {name: np.empty((repeats, len(masks))) for name in self.scores}
        for name, numbers in values.items():
            for place, mask in enumerate(masks):
                seed = hashlib.sha256(f"{self._seed}{name}".encode() + np.packbits(mask).tobytes()).digest()
                numbers[:, place] = np.random.default_rng(np.frombuffer(seed, np.uint32)).uniform(1, 9, repeats)
        return Table(values, {name: np.full((repeats, len(masks)), "full rank", "U32") for name in values})


def _cheap_indicators(space, *settings: Any, **options: Any):
    from tenas_jax.scores.indicators import Indicator, Scores

    def indicator(name: str, lower: bool, seed: int):
        weights = np.random.default_rng(seed).normal(size=space.mask_shape)

        def evaluate(key, masks):
            alive = masks / masks.sum(-1, keepdims=True)
            values = 1 + np.abs(np.sin((alive * weights).sum((1, 2, 3))))[None]
            return Scores(values, np.full(values.shape, "counted"))

        return Indicator(name, lower, evaluate, geometric=True)

    return [indicator("condition_number", True, 0), indicator("linear_regions", False, 1)]


@contextlib.contextmanager
def cheap() -> Iterator[None]:
    """Everything of the commands is real but the scores, which come from a hash."""
    with contextlib.ExitStack() as stack:
        for name, stand_in in {
            "tenas_jax.rank.score_table.prepare": CheapScorer,
            "tenas_jax.scores.scorer.prepare": CheapScorer,
            "tenas_jax.search.strategies.prepare": CheapScorer,
            "tenas_jax.search.strategies.indicators": _cheap_indicators,
            "tenas_jax.search.job.check_images": lambda source, scores: None,
            "tenas_jax.search.job.REPEATS": REPEATS,
        }.items():
            stack.enter_context(mock.patch(name, stand_in))
        yield


def commands(folder: Path) -> dict[str, Callable[[Path], list[str]]]:
    """The command lines that are tried, by name: each takes a folder of its own and gives its arguments.

    Args:
        folder: for the file of the space.
    """
    file = folder / "small.py"
    file.write_text(SPACE)
    space = ["--space", f"{file}:SPACE"]
    search = ["search", *space, "--output"]
    return {
        "prune": lambda at: [*search, str(at / "run")],
        "evolve": lambda at: [*search, str(at / "run"), "--strategy", "evolve", "--evaluations", "40"],
        "exhaustive": lambda at: [*search, str(at / "run"), "--strategy", "exhaustive"],
        "rank": lambda at: ["rank", *space, "--repeats", str(REPEATS), "--output", str(at / "scores.csv")],
    }


def called(arguments: list[str]) -> tuple[int, str, str]:
    """Runs a command in this process: exit code, standard output, standard error.

    Args:
        arguments: "search" or "rank", and its arguments.
    """
    from tenas_jax.rank.command import main as rank
    from tenas_jax.search.command import main as search

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = (search if arguments[0] == "search" else rank)(arguments[1:])
    return code, out.getvalue(), err.getvalue()


VARYING = ("seconds", "spent", "sha256", "wall_seconds", "compile_seconds", "evaluated_now", "csv_sha256")


def outcome(at: Path, out: str) -> dict[str, Any]:
    """What a command has found and written, but for seconds and checksums.

    Args:
        at: the folder that it was given.
        out: its standard output.
    """

    def steady(text: str) -> Any:
        try:
            return {name: value for name, value in json.loads(text).items() if name not in VARYING}
        except (ValueError, AttributeError):
            return "no JSON object"

    found: dict[str, Any] = {"last line": out.splitlines()[-1:]}
    for path in sorted(path for path in at.rglob("*") if path.is_file()):
        name = str(path.relative_to(at))
        if path.suffix == ".json":
            found[name] = steady(path.read_text(errors="replace"))
        elif path.suffix == ".jsonl":
            found[name] = [steady(line) for line in path.read_text(errors="replace").splitlines()]
        elif path.suffix == ".csv":
            found[name] = path.read_text(errors="replace")
        elif path.suffix != ".html":
            found[name] = "left over"
    return found
