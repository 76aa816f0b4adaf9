"""How wide networks approach the analytic NTK, and how far its two batch norms are from the real one.

    python benchmarks/ntk_convergence.py [--widths 16 32 64 128] [--seeds 12]

Takes five minutes on two busy cores, most of them compilation. Writes `results/ntk_convergence.json` and
`docs/images/convergence.png`.

The first part compares draws of finite networks with the mean-field batch norm to their limit: ||draw - limit|| / ||limit||
in the Frobenius norm, by width. The second compares networks of the largest width with real batch norm to both forms.
"""

import argparse
import time
from itertools import product
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from common.finite_twin import (
    Network,
    cell_network,
    chain_network,
    draw_kernels,
    limit_kernel,
    operator_network,
    residual_network,
)
from common.records import write
from common.statistics import mean_and_error
from tenas_jax.data import image_batch, open_images
from tenas_jax.ntk.gaussian_kernels import Settings
from tenas_jax.spaces.nasbench201 import NAS_BENCH_201

PLOT = Path(__file__).parents[1] / "docs" / "images" / "convergence.png"
SINGLE = "|nor_conv_3x3~0|+|nor_conv_1x1~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_1x1~1|nor_conv_3x3~2|"
SKIPS = "|skip_connect~0|+|skip_connect~0|skip_connect~1|+|avg_pool_3x3~0|skip_connect~1|nor_conv_3x3~2|"
STATISTICS: tuple[Literal["frozen", "mean-coupled", "coupled"], ...] = ("frozen", "mean-coupled", "coupled")
NETWORKS: dict[str, Network] = {
    "3 x 3 convolution": operator_network("nor_conv_3x3"),
    "separable 3 x 3": operator_network("sep_conv_3x3"),
    "dilated 3 x 3": operator_network("dil_conv_3x3"),
    "average pooling": operator_network("avg_pool_3x3"),
    "max pooling": operator_network("max_pool_3x3"),
    "factorized reduction": operator_network("skip_connect", stride=2),
    "residual block": residual_network,
    "cell of skips": cell_network(NAS_BENCH_201.parse(SKIPS)),
    "single architecture": cell_network(NAS_BENCH_201.parse(SINGLE)),
    "supernet": cell_network(NAS_BENCH_201.supernet()),
}


def relative_errors(drawn, limit) -> np.ndarray:
    return np.linalg.norm(drawn - limit, axis=(1, 2)) / np.linalg.norm(limit)


def convergence(images, widths, seeds: int) -> dict[str, Any]:
    curves = {}
    for name, build in NETWORKS.items():
        limit = limit_kernel(build, images)
        errors = [relative_errors(draw_kernels(build, images, width, seeds), limit) for width in widths]
        slope = np.polyfit(np.log(widths), np.log([e.mean() for e in errors]), 1)[0]
        curves[name] = {
            "slope_of_the_logarithms": round(float(slope), 3),
            "error": {width: mean_and_error(e) for width, e in zip(widths, errors, strict=True)},
        }
        print(f"{name}: slope {slope:.2f}, " + ", ".join(f"{e.mean():.3f}" for e in errors), flush=True)
    return curves


def gaps(batches, width: int, seeds: int) -> list[dict[str, Any]]:
    rows = []
    chains = {depth: chain_network(depth) for depth in (1, 2, 4)}
    for depth, build in chains.items():
        for statistics, (images, batch) in product(STATISTICS, batches.items()):
            real = draw_kernels(build, batch, width, seeds, Settings("ntk", "exact", statistics)).mean(0)
            row: dict[str, Any] = {"images": images, "layers": depth, "statistics": statistics}
            forms = [Settings("ntk", "mean-field", statistics), Settings("ntk", "exact", statistics)]
            for form in forms if statistics != "coupled" else forms[1:]:
                limit = limit_kernel(build, batch, form)
                row[form.batch_norm] = {
                    "relative_error": round(float(np.linalg.norm(real - limit) / np.linalg.norm(limit)), 3),
                    "log_condition_number": round(float(np.log(np.linalg.cond(limit) / np.linalg.cond(real))), 3),
                }
            rows.append(row)
            print(row, flush=True)
    return rows


def plot(curves, widths) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.6), layout="constrained")
    for number, (name, curve) in enumerate(curves.items()):
        mean, error = (np.array([curve["error"][w][key] for w in widths]) for key in ("mean", "standard_error"))
        axes.errorbar(
            widths, mean, error, marker="os^vDPXp<>"[number], markersize=4, capsize=2, linewidth=1, label=name
        )
    start = max(curve["error"][widths[0]]["mean"] for curve in curves.values())
    axes.plot(widths, 1.3 * start * np.sqrt(widths[0] / np.array(widths)), "k--", linewidth=1, label="1 / sqrt(width)")
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="width (channels)",
        ylabel="relative error of one draw",
        title="Finite networks approach the analytic NTK",
    )
    axes.set_yticks([0.05, 0.1, 0.2, 0.4], ["0.05", "0.1", "0.2", "0.4"])
    axes.set_xticks(widths, [str(width) for width in widths])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
    PLOT.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PLOT, dpi=130)
    print(f"wrote {PLOT}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 32, 64, 128])
    parser.add_argument("--seeds", type=int, default=12)
    arguments = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    start = time.perf_counter()
    noise = jnp.asarray(np.random.default_rng(0).normal(size=(5, 4, 4, 3)))
    natural = image_batch(jax.random.key(0), open_images(), 5, side=4).astype(jnp.float64)
    curves = convergence(noise, arguments.widths, arguments.seeds)
    rows = gaps({"noise": noise, "synthetic photographs": natural}, max(arguments.widths), arguments.seeds)
    plot(curves, arguments.widths)
    write(
        "ntk_convergence",
        {
            "what": "5 images of 4 x 4; relative Frobenius error of one draw against the limit, over seeds, by width",
            "seeds": arguments.seeds,
            "convergence": curves,
            "real_batch_norm": {
                "what": "mean over seeds of chains with real batch norm against either form; "
                "log_condition_number is the limit's minus the mean's",
                "width": max(arguments.widths),
                "rows": rows,
            },
            "seconds": round(time.perf_counter() - start),
        },
    )


if __name__ == "__main__":
    main()
