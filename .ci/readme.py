"""Runs what README.md says, word for word, with the Python that runs this script.

`first` and `without_tensorflow` print the commands of an installation; `run`, in a folder that holds README.md, runs the
README's other commands on small data that is made here; `light` looks whether TensorFlow is left out, and searches.
"""

import importlib.util
import itertools
import os
import pickle
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

# These take minutes on two cores, or hours: it is seen whether they set to work, and then they are stopped.
DEAR = (
    "python -m tenas_jax.search --space darts",
    "python -m tenas_jax.search --strategy exhaustive --max-flops 100M",
    "python -m tenas_jax.search --preset released --benchmark nasbench201.csv.gz --benchmark-column cifar10_test_accuracy",
    "python -m tenas_jax.rank",
    "python -m tenas_jax.rank --benchmark nasbench201.csv.gz --output ranks/scores.csv",
)
PATIENCE = 15  # seconds
# These ask for more than the README's first command installs; the gate's first environment runs what they run.
BEYOND = ("pip install -e", "--ray local")
OPERATORS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")


def blocks(page: str, language: str) -> list[str]:
    """Code of a page."""
    return re.findall(rf"^```{language}\n(.*?)^```", Path(page).read_text(), flags=re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """Lines of the README's blocks after its first, which installs."""
    lines = [line.strip() for block in blocks("README.md", "bash")[1:] for line in block.splitlines()]
    return [line for line in lines if line and not any(words in line for words in BEYOND)]


def make_data(folder: Path) -> None:
    """Small files under the names that the README gives as examples."""
    import numpy as np

    folder.mkdir()
    rng = np.random.default_rng(0)
    np.savez(folder / "images.npz", x=rng.integers(256, size=(64, 32, 32, 3), dtype=np.uint8))
    labelled = rng.integers(256, size=(160, 16, 16, 3), dtype=np.uint8)
    np.savez(folder / "labelled.npz", x=labelled, y=np.arange(160) % 10)
    batches = (("cifar-10-batches-py", "data_batch_", 5, 32), ("Imagenet16", "train_data_batch_", 10, 16))
    for name, start, count, side in batches:
        (folder / name).mkdir()
        for number in range(1, count + 1):
            rows = rng.integers(256, size=(20, 3 * side * side), dtype=np.uint8)
            content = pickle.dumps({"data": rows, "labels": rng.integers(1, 121, 20).tolist()}, 2)
            (folder / name / f"{start}{number}").write_bytes(content)
    import gzip

    with gzip.open(folder / "nasbench201.csv.gz", "wt") as file:
        file.write("architecture,cifar10_test_accuracy\n")
        for a, b, c, d, e, f in itertools.product(OPERATORS, repeat=6):
            file.write(f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|,{rng.uniform(10, 94):.2f}\n")


def run(words: list[str], folder: Path, *, patience: float | None = None) -> None:
    """Runs a command to its end, or for so many seconds; leaves with its output where it fails."""
    start = time.perf_counter()
    with (folder / "log").open("w+") as log:
        process = subprocess.Popen([sys.executable, *words], cwd=folder, stdout=log, stderr=subprocess.STDOUT)
        try:
            code, ending = process.wait(patience), ""
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            code, ending = 0, ", stopped"
        log.seek(0)
        text = log.read()
    if code or "Traceback" in text or "error:" in text:
        sys.exit(f"{shlex.join(words)[:200]} failed with exit code {code}:\n{text}")
    print(f"{time.perf_counter() - start:5.1f} s{ending}: {shlex.join(words)[:110].splitlines()[0]}", flush=True)


def run_readme() -> None:
    """All commands and examples, each in a folder of its own beside the same data."""
    data, work = Path("readme_data").resolve(), Path("readme_runs").resolve()
    make_data(data)
    found = commands()
    assert set(DEAR) < set(found), f"not in the README: {set(DEAR) - set(found)}"
    jobs = [(shlex.split(line)[1:], PATIENCE if line in DEAR else None) for line in found]
    jobs += [(["-c", example], None) for example in blocks("README.md", "python")]
    for number, (words, patience) in enumerate(jobs):
        folder = work / str(number)
        folder.mkdir(parents=True)
        for path in data.iterdir():
            (folder / path.name).symlink_to(path)
        run(words, folder, patience=patience)


def run_light() -> None:
    """A search where TensorFlow is not installed."""
    for name in ("tensorflow", "tf2jax", "keras"):
        assert importlib.util.find_spec(name) is None, f"{name} is installed"
    folder = Path("light_run")
    folder.mkdir()
    run(["-m", "tenas_jax.search"], folder)
    # What neural-tangents is for: another route to the kernel.
    run(["-c", "from tenas_jax.ntk import neural_tangents as n; print(n.load().stax.Relu)"], folder)


def main() -> None:
    """The command line."""
    os.environ.pop("PYTHONPATH", None)  # what is installed is meant
    match sys.argv[1]:
        case "first":
            print(blocks("README.md", "bash")[0])
        case "without_tensorflow":
            print(blocks("docs/how_to/install.md", "bash")[0])
        case "run":
            run_readme()
        case "light":
            run_light()


if __name__ == "__main__":
    main()
