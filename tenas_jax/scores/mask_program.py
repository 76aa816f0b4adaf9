"""Many masks by one compiled program.

A mask is data, so a whole search, or a whole space, compiles an indicator once. On a CPU masks are evaluated one by one,
which lets every mask skip its dead operators, on as many threads as there are processors; on an accelerator they are a
batch dimension. Where there are several devices, each has its share of the masks, by a separate program: partitioned
over devices, one program would be compiled in another way, with other roundings.
"""

import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache, partial
from threading import Event
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import SingleDeviceSharding
from jaxtyping import Bool
from threadpoolctl import ThreadpoolController

from tenas_jax.command_line import cpu_count
from tenas_jax.scores.traced_programs import lowered
from tenas_jax.terminal import meanwhile

T = TypeVar("T")

# XLA shares among threads what it takes for long. Where there are always more masks than threads, to wake another one for a
# part of a small mask costs more than it saves.
OF_ONE_THREAD: Any = {"xla_disable_hlo_passes": "cpu-parallel-task-assigner"}
CHUNK = 32  # masks a call: enough to hide what a call costs, few enough to share among threads
SMALL_CHUNK = 64  # of small masks: a few of them take no longer than to begin a call


class MaskProgram:
    """A function of one mask, compiled once and run for any number of masks.

    Attributes:
        compilations: how often the function has been compiled, on all devices together.
        compile_seconds: how long tracing and compiling took.
        function: of one mask.
    """

    def __init__(
        self, function: Callable[..., Any], name: str | None = None, *, chunk: int | None = None, many: bool = False
    ):
        """Takes `function(mask, *arguments)`, which returns an array or a tree of arrays.

        Instead of a mask it may take any array that says what to evaluate, such as whole numbers.

        Args:
            function: of one mask.
            name: see `traced_programs.lowered`; with one it is not traced in every process.
            chunk: masks a call: fewer where results are large, since room is made for all of them.
            many: whether masks are many and small, so that none of them is worth more than one thread.
        """
        self._name, self._chunk, self._many = name, chunk or (SMALL_CHUNK if many else CHUNK), many
        self.compilations = 0
        self.compile_seconds = 0.0
        self.function = function
        self._compiled: dict[Any, list[Callable[..., Any]]] = {}

    def __call__(self, masks: Bool[np.ndarray, "m cells edges ops"], *arguments: Any) -> Any:
        """Evaluates every mask with the same further arguments.

        Args:
            masks: (m, cells, edges, ops), m at least 1.
            *arguments: arrays that all masks share, such as keys and images.

        Returns:
            What the function returns, with a first axis (m, ...) in the order of the masks, on the host. No value depends
            on what else is evaluated beside it.
        """
        results = self._evaluated(masks, arguments, lambda part, results: results)
        return jax.tree.map(lambda *parts: np.concatenate(parts), *results)

    def fill(self, rows: Any, masks: Bool[np.ndarray, "m cells edges ops"], /, *arguments: Any) -> None:
        """Evaluates masks as `__call__`, into memory that is there already.

        Args:
            rows: the tree of arrays (m, ...) of the host that `__call__` would return.
            masks: (m, cells, edges, ops), m at least 1.
            *arguments: arrays that all masks share; other rows of the same memory may be among them.
        """
        self._evaluated(masks, arguments, partial(put, rows))

    def _evaluated(self, masks, arguments, take: Callable[[slice, Any], T]) -> list[T]:
        """What `take` makes of the results of every part of the masks, in the thread that has found them."""
        programs = self._programs(masks, arguments)
        # A CPU is one device, however many processors it has.
        workers = len(programs) if len(programs) > 1 else cpu_count()
        count = max(-(-len(masks) // self._chunk), min(workers, len(masks)))
        ends = [len(masks) * number // count for number in range(count + 1)]
        # Once a device, not once a call.
        placed = [_placed(arguments, device) for device in jax.local_devices()]

        def evaluated(number: int) -> T:
            part, device = slice(ends[number], ends[number + 1]), number % len(programs)
            return take(part, self._run(programs[device], placed[device], masks[part]))

        with one_blas_thread():
            return list(_pool(workers).map(evaluated, range(count)))

    def release(self) -> None:
        """Nothing is held between calls, see `shared_work.SharedProgram`."""

    def held(self) -> AbstractContextManager[None]:
        """As `release`."""
        return nullcontext()

    def _programs(self, masks, arguments) -> list[Callable[..., Any]]:
        """The program of every local device."""
        signature = (masks.shape[1:], masks.dtype, *((leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(arguments)))
        if signature not in self._compiled:
            start = time.perf_counter()
            masks = jax.ShapeDtypeStruct((self._chunk, *masks.shape[1:]), masks.dtype)
            program = partial(one_by_one if jax.default_backend() == "cpu" else side_by_side, self.function)

            def compiled(device):
                everything = (masks, jax.ShapeDtypeStruct((), np.int32), *arguments)
                traced = lowered(program, everything, self._name, in_shardings=SingleDeviceSharding(device))
                return traced.compile(OF_ONE_THREAD if self._many and device.platform == "cpu" else None)

            devices = jax.local_devices()
            with meanwhile("compiling"), ThreadPoolExecutor(len(devices)) as pool:
                self._compiled[signature] = list(pool.map(compiled, devices))
            self.compilations += len(devices)
            self.compile_seconds += time.perf_counter() - start
        return self._compiled[signature]

    def _run(self, program, arguments, masks):
        padding = np.broadcast_to(masks[:1], (self._chunk - len(masks), *masks.shape[1:]))
        results = program(np.concatenate([masks, padding]), np.int32(len(masks)), *arguments)
        return jax.tree.map(lambda leaf: np.asarray(leaf)[: len(masks)], results)


def put(table: Any, where: Any, rows: Any) -> None:
    """Writes rows into a table of the host.

    Args:
        table: an array (m, ...), or a tree of such arrays.
        where: which of its rows, as an index.
        rows: theirs, a like tree.
    """
    for values, found in zip(jax.tree.leaves(table), jax.tree.leaves(rows), strict=True):
        values[where] = found


@lru_cache
def _pool(workers: int) -> ThreadPoolExecutor:
    """Threads that are always there: to start them takes longer than many a call."""
    return ThreadPoolExecutor(workers)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # a forked process has none of the threads


def beside_each_other(evaluations: Sequence[Iterable[T]]) -> list[list[T]]:
    """What some evaluations yield, as lists: while one has work for a single processor, another one has the rest.

    Args:
        evaluations: of several programs, each of which is asked for one result after the other in a thread of its own.

    Returns:
        Their results, in the order of the evaluations. After an exception in one of them the others end with the result
        that they are at.
    """
    stop = Event()

    def collected(results: Iterable[T]) -> list[T]:
        found = []
        for result in results:
            found.append(result)
            if stop.is_set():
                break
        return found

    with one_blas_thread(), ThreadPoolExecutor(max(min(len(evaluations), cpu_count()), 1)) as pool:
        try:
            return list(pool.map(collected, evaluations))
        except BaseException:
            stop.set()
            raise


def _placed(arguments: Any, device: Any) -> Any:
    """Arguments on a device; to ask for what is there already takes longer than to look, weight by weight."""
    leaves, structure = jax.tree.flatten(arguments)
    elsewhere = [n for n, x in enumerate(leaves) if not (isinstance(x, jax.Array) and x.devices() == {device})]
    for n, x in zip(elsewhere, jax.device_put([leaves[n] for n in elsewhere], device), strict=True):
        leaves[n] = x
    return jax.tree.unflatten(structure, leaves)


def one_blas_thread() -> Any:
    """A block in which LAPACK has one thread.

    The threads of several calls would wait, busily, for each other: 60 times slower for a 128 x 128 eigendecomposition.
    Where threads enter such blocks, one that lasts longer than theirs has to be around them.
    """
    return _thread_pools().limit(limits=1, user_api="blas")


@lru_cache
def _thread_pools() -> ThreadpoolController:
    """The pools of the libraries that are loaded: finding them takes as long as some evaluations."""
    return ThreadpoolController()


def one_by_one(function: Callable[..., Any], masks: Any, count: Any, *arguments: Any) -> Any:
    """The first `count` masks, one after the other.

    Args:
        function: of one mask.
        masks: (m, ...).
        count: how many; the other results are zero.
        *arguments: that all masks share.
    """
    function = jax.jit(function, inline=True)  # traced once, though asked twice

    def evaluate(i, results):
        result = function(masks[i], *arguments)
        return jax.tree.map(lambda all_of_them, leaf: all_of_them.at[i].set(leaf), results, result)

    result = jax.eval_shape(function, masks[0], *arguments)
    empty = jax.tree.map(lambda leaf: jnp.zeros((len(masks), *leaf.shape), leaf.dtype), result)
    return jax.lax.fori_loop(0, count, evaluate, empty)


def side_by_side(function: Callable[..., Any], masks: Any, count: Any, *arguments: Any) -> Any:
    """As `one_by_one`, as one batch; masks beyond `count` cost nothing extra there.

    Args:
        function: of one mask.
        masks: (m, ...).
        count: is not needed.
        *arguments: that all masks share.
    """
    del count
    return jax.vmap(lambda mask: function(mask, *arguments))(masks)
