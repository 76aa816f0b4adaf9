"""Tables of trainings: what the quick preset tells apart, and what whole trainings cost."""

import statistics

from common.markdown import read, table

IMAGES, DAY = 50_000, 86_400  # of CIFAR-10's training set; seconds


def quick_trainings() -> str:
    """Held-out accuracy after the preset `quick`, group by group."""
    measured = read("train_quick")
    groups: dict[str, list[dict]] = {}
    for row in (*measured["table"], *measured["found"]):
        groups.setdefault(f"{row['name']} ({row['test_accuracy']:.2f} % in the table)", []).append(row)
    if measured["random"]:
        groups[f"{len(measured['random'])} random architectures"] = measured["random"]
    groups["a network of three layers"] = measured["three_layers"]
    rows = []
    for name, runs in groups.items():
        found = [run["last"]["top1"] for run in runs]
        error = f" ({statistics.stdev(found) / len(found) ** 0.5:.1f})" if len(found) > 1 else ""
        parameters = statistics.mean(run["parameters"] for run in runs)
        rows.append([name, f"{len(runs)}", f"{parameters:,.0f}", f"{statistics.mean(found):.1f} %{error}"])
    linear = measured["linear"]
    rows.append(["a linear classifier, its best step", "1", f"{linear['parameters']:,}", f"{linear['top1']:.1f} %"])
    return table(["network", "trainings", "parameters", "held-out top-1 (standard error)"], rows)


def training_costs() -> str:
    """A step here and in PyTorch, and what a whole published training would take on this machine."""
    epochs = {"nasbench201": 200, "darts": 600}
    rows = []
    for row in read("train_speed")["rows"]:
        ours, theirs = row["jax"]["seconds"], row["pytorch"]["seconds"]
        days = ours / row["batch"] * IMAGES * epochs[row["case"]] / DAY
        rows.append(
            [row["case"], f"{row['batch']}", f"{ours:.2f} s", f"{theirs:.2f} s", f"{row['ratio']:.2f}",
             f"{1000 * row['batch_seconds']:.0f} ms", f"{row['compile_seconds']:.0f} s", f"{days:.0f}"]
        )  # fmt: skip
    head = ["network", "batch", "a step", "in PyTorch", "PyTorch / here", "making its batch", "compiling"]
    return table([*head, "days for all epochs of CIFAR-10"], rows)


def training_forms() -> str:
    """Forward and backward of single convolutions."""
    rows = []
    for row in read("train_speed")["forms"]:
        kind = "depthwise" if row["depthwise"] else "dense"
        name = f"{row['kernel']} x {row['kernel']}, {kind}, {row['channels']} channels, {row['side']} x {row['side']}"
        seconds = [row[form]["seconds"] for form in ("general", "ours", "pytorch")]
        rows.append([name, *(f"{1000 * one:.1f} ms" for one in seconds)])
    return table(["convolution, forward and backward", "JAX's general routine", "here", "PyTorch"], rows)
