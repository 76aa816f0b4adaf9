"""Kills, power cuts, two processes and corrupted records: what becomes of runs, counted.

Commands are real but for their scores, which come from a hash (`fault_layers.cheap`), so that each takes a moment. A run
is right if its architecture, records and tables equal those of an undisturbed one, but for seconds and checksums. It may
be refused in one sentence with exit code 2, or name what is damaged of a finished run. Anything else is a failure.
"""

import collections
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from common import fault_layers as layers

Counts = collections.Counter
PRELOADED = ["tenas_jax.search.command", "tenas_jax.rank.command", "common.fault_layers"]
"""What a server of processes loads, so that its children begin at once."""
KEPT = ("rounds.jsonl", "scores.csv", "beside.json")
"""Files of a finished run that are not made anew: what of them is whole is shown."""


class Campaign:
    """A folder for all runs, and what undisturbed ones come to."""

    def __init__(self, folder: Path, seed: int):
        """Makes the undisturbed runs."""
        self.folder = folder
        self.rng = random.Random(seed)
        self.failures: list[str] = []
        self.commands = layers.commands(folder)
        self._number = 0
        self.right = {}
        for name, arguments in self.commands.items():
            at = self.new_folder()
            code, out, err = layers.called(arguments(at))
            assert code == 0, err
            self.right[name] = layers.outcome(at, out)

    def new_folder(self) -> Path:
        """A folder for a run."""
        self._number += 1
        at = self.folder / str(self._number)
        at.mkdir()
        return at

    def resumed(self, name: str, at: Path, what: str) -> str:
        """Runs a command where something has happened, and says what came of it.

        Args:
            name: of the command.
            at: the folder.
            what: has happened, for the list of failures.

        Returns:
            "right", "refused" (one sentence, exit code 2), "named" (the right architecture, and a sentence about each file
            that is damaged), "wrong" or "traceback".
        """
        try:
            code, out, err = layers.called(self.commands[name](at))
        except Exception:
            self.failures.append(f"{name}, {what}: {traceback.format_exc()[-600:]}")
            return "traceback"
        if code == 2 and err.splitlines()[-1].startswith("error: "):
            return "refused"
        found = layers.outcome(at, out)
        if code == 0 and found == self.right[name]:
            return "right"
        differing = [k for k in found.keys() | self.right[name].keys() if found.get(k) != self.right[name].get(k)]
        said = [line for line in err.splitlines() if any(word in line for word in ("damaged", "missing", "ends after"))]
        if code == 0 and all(path.endswith(KEPT) and any(path in line for line in said) for path in differing):
            return "named"
        self.failures.append(f"{name}, {what}: exit code {code}, differs in {differing}: {err[-300:]}")
        return "wrong"


def kills_before_operations(campaign: Campaign, stride: int) -> Counts:
    """A kill before every `stride`-th file operation, and a second one at random when the run goes on."""
    counts: Counts = Counts()
    for name, arguments in campaign.commands.items():
        number = campaign.rng.randrange(stride)
        while True:
            at = campaign.new_folder()
            if not _killed(at, arguments(at), number):
                break
            counts["kills"] += 1
            if campaign.rng.random() < 0.5 and _killed(at, arguments(at), campaign.rng.randrange(30)):
                counts["kills"] += 1
            counts[campaign.resumed(name, at, f"killed before operation {number}")] += 1
            shutil.rmtree(at)
            number += stride
    return counts


def _killed(at: Path, arguments: list[str], number: int) -> bool:
    """Runs a command up to a file operation; False where it ends before."""

    def before(count: int) -> None:
        if count == number:
            raise layers.Killed

    try:
        with layers.Layer(at, before):
            layers.called(arguments)
    except layers.Killed:
        return True
    return False


def power_cuts(campaign: Campaign, cuts: int) -> Counts:
    """The power goes after a random file operation; what was not synced is lost by each of the models in turn."""
    counts: Counts = Counts()
    names = list(campaign.commands)
    logs = {}
    for name in names:
        at = campaign.new_folder()
        with layers.Layer(at) as logs[name]:
            layers.called(campaign.commands[name](at))
    for cut in range(cuts):
        name, model = names[cut % len(names)], layers.MODELS[cut // len(names) % len(layers.MODELS)]
        operations = campaign.rng.randrange(logs[name].count + 1)
        at = campaign.new_folder()
        logs[name].after_power_cut(operations, model).write_to(at)
        counts[campaign.resumed(name, at, f"power cut after {operations} operations, {model}")] += 1
        shutil.rmtree(at)
    return counts


def _child(arguments: list[str], pause: float, double: bool) -> None:
    """A command in a process of its own and in this precision, slow enough at the disc to be met by a signal."""
    jax.config.update("jax_enable_x64", double)
    root = Path(arguments[arguments.index("--output") + 1]).parent
    sys.stderr = sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    with layers.cheap(), layers.Layer(root, lambda count: time.sleep(pause)):
        code, _, err = layers.called(arguments)
    (root.parent / f"{root.name}.{os.getpid()}").write_text(f"{code} {err.splitlines()[-1] if err else ''}")
    os._exit(0)


def _is_double() -> bool:
    return bool(jax.config.values["jax_enable_x64"])


def real_kills(campaign: Campaign, kills: int, starter: Any) -> Counts:
    """SIGKILL of a real process at a random moment, up to three times, then the same command to its end."""
    counts: Counts = Counts()
    names = list(campaign.commands)
    trial = 0
    while counts["kills"] < kills:
        name, at = names[trial % len(names)], campaign.new_folder()
        trial += 1
        for _ in range(campaign.rng.randint(1, 3)):
            process = starter.Process(target=_child, args=(campaign.commands[name](at), 0.02, _is_double()))
            process.start()
            _wait_for_work(at, process)
            process.join(campaign.rng.uniform(0, 2))
            if process.is_alive():
                process.kill()
                counts["kills"] += 1
            process.join()
        counts[campaign.resumed(name, at, "killed")] += 1
        shutil.rmtree(at)
    return counts


def _wait_for_work(at: Path, process: Any) -> None:
    """Until the process has touched the disc: before that a kill says nothing."""
    while process.is_alive() and not any(at.iterdir()):
        time.sleep(0.01)


def two_processes(campaign: Campaign, pairs: int, starter: Any) -> Counts:
    """Two processes with one output; in half of the pairs both are killed. Then the same command to its end."""
    counts: Counts = Counts()
    names = list(campaign.commands)
    for pair in range(pairs):
        name, at = names[pair % len(names)], campaign.new_folder()
        both = [
            starter.Process(target=_child, args=(campaign.commands[name](at), 0.02, _is_double())) for _ in range(2)
        ]
        for process in both:
            process.start()
        if pair // len(names) % 2:
            _wait_for_work(at, both[0])
            time.sleep(campaign.rng.uniform(0, 1.5))
            for process in both:
                if process.is_alive():
                    os.kill(process.pid, signal.SIGKILL)
                    counts["kills"] += 1
        for process in both:
            process.join()
            said = at.parent / f"{at.name}.{process.pid}"
            if said.exists():
                counts["told that the place is in use"] += "is in use by process" in said.read_text()
        counts[campaign.resumed(name, at, "two processes")] += 1
        shutil.rmtree(at)
    return counts


def corruptions(campaign: Campaign, number: int) -> Counts:
    """Random damage to one file of a run that is finished, or half finished; then the same command."""
    counts: Counts = Counts()
    states = list(_states(campaign))
    for trial in range(number):
        name, source = states[trial % len(states)]
        at = campaign.new_folder()
        shutil.copytree(source, at, dirs_exist_ok=True)
        files = sorted(path for path in at.rglob("*") if path.is_file() and path.suffix != ".html")
        path = campaign.rng.choice(files)
        how = _damage(path, campaign.rng)
        counts[campaign.resumed(name, at, f"{how} of {path.relative_to(at)}")] += 1
        shutil.rmtree(at)
    return counts


def _states(campaign: Campaign) -> Iterator[tuple[str, Path]]:
    """Every command, finished and stopped at two places."""
    for name, arguments in campaign.commands.items():
        at = campaign.new_folder()
        with layers.Layer(at) as layer:
            layers.called(arguments(at))
        yield name, at
        for share in (0.4, 0.7):
            half = campaign.new_folder()
            assert _killed(half, arguments(half), int(share * layer.count))
            yield name, half


def _damage(path: Path, rng: random.Random) -> str:
    data = bytearray(path.read_bytes())
    place = rng.randrange(len(data) or 1)
    how = rng.choice(["a byte", "a digit", "a cut", "an insertion", "a swap of lines", "zeros", "emptying", "removal"])
    if how == "a byte" and data:
        data[place] ^= rng.randrange(1, 256)
    elif how == "a digit" and (digits := [n for n, byte in enumerate(data) if chr(byte).isdecimal()]):
        place = rng.choice(digits)
        data[place] = ord(str((int(chr(data[place])) + rng.randint(1, 9)) % 10))
    elif how == "a cut":
        del data[place:]
    elif how == "an insertion":
        data[place:place] = rng.randbytes(rng.randint(1, 40))
    elif how == "a swap of lines":
        lines = bytes(data).splitlines(keepends=True)
        rng.shuffle(lines)
        data = bytearray(b"".join(lines))
    elif how == "zeros":
        data[place : place + 50] = bytes(len(data[place : place + 50]))
    elif how == "emptying":
        data.clear()
    elif how == "removal":
        path.unlink()
        return how
    path.write_bytes(data)
    return how
