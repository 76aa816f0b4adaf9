"""What a page shows of a training: its curves."""

from tenas_jax.report.plots import Plot, Series, lines
from tenas_jax.report.run_files import Run, numbers

MEASURES = {"loss": "loss", "top1": "top-1 accuracy, per cent", "top5": "top-5 accuracy, per cent"}


def curves(run: Run) -> list[Plot]:
    """Loss and accuracies, epoch by epoch, of the images that were trained on and of those that were held out.

    Args:
        run: of a training.
    """
    x = numbers(record["epoch"] for record in run.rounds)
    plots = []
    for name, told in MEASURES.items() if run.rounds else ():
        series = [
            Series("trained on", numbers(record["train"][name] for record in run.rounds), "op1", (6, 3)),
            Series("held out", numbers(record["val"][name] for record in run.rounds), "op3"),
        ]
        plots.append(lines(x, series, "epoch", told))
    return plots


def facts(run: Run) -> list[tuple[str, str, str]]:
    """The best and the last epoch: name, value, words.

    Args:
        run: of a training.
    """
    found = []
    for name in ("best", "last"):
        if held := run.result.get(name):
            words = (
                f"held out, {name} epoch{' ' + str(held['epoch']) if 'epoch' in held else ''}; loss {held['loss']:.4g}"
            )
            found.append((f"{name} top-1", f"{held['top1']:.2f} %", words))
    if "parameters" in run.result:
        found.append(("parameters", f"{run.result['parameters']:,}", "of the network that was trained"))
    return found
