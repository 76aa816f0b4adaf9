"""Tables of the documents on kernels and networks, from the files in `results/`."""

from common.markdown import figures, read, seconds, table


def indicators() -> str:
    """Seconds of one indicator here and in PyTorch."""
    measured = read("score_beside_pytorch")
    networks = list(measured["alive_operators"])

    def against(times):
        return [
            f"{seconds(t['ours']['seconds'])} / {seconds(t['pytorch']['seconds'])}" for t in map(times.get, networks)
        ]

    analytic = [seconds(measured["analytic_ntk"]["times"][network]["seconds"]) for network in networks]
    released = next(entry["times"] for entry in measured["ntk"] if entry["channels"] == 3)
    return table(
        ["here / PyTorch", *networks],
        [
            ["empirical NTK, released settings", *against(released)],
            ["linear regions, 1000 patches", *against(measured["linear_regions"]["times"])],
            ["analytic NTK (no counterpart)", *analytic],
        ],
    )


def ntk_choices() -> str:
    """Kendall's tau of the analytic NTK by its settings, synthetic / CIFAR-10 images; a star where one seed had to do."""
    found: dict[str, dict[str, dict]] = {}
    for row in read("ntk_choices")["rows"]:
        name = ", ".join(f"{key.replace('_', ' ')}: {value}" for key, value in row["changes"].items()) or "none"
        found.setdefault(name + ("" if row["seeds"] > 1 else " *"), {})[row["images_of"]] = row["kendall_tau"]
    statistics = ("condition_number", "with_regions_by_log_ranks")
    rows = [
        [name, *(f"{by['synthetic'][key]:.3f} / {by['cifar10'][key]:.3f}" for key in statistics)]
        for name, by in found.items()
    ]
    return table(["change", "condition number", "with linear regions, sum of log ranks"], rows)


def ntk_cost() -> str:
    """Milliseconds an architecture of the analytic NTK by size and by batch norm, beside empirical kernels."""
    measured = read("ntk_cost")
    labels = {"images": "images", "side": "side of the images", "cells": "cells a stage"}
    rows = []
    for sweep, label in labels.items():
        found = measured["sweeps"][sweep]
        milliseconds = ", ".join(f"{one['milliseconds']:.2f}" for one in found["by_size"].values())
        exponents = f"{found['exponent']:.1f}, {found['of_the_two_largest']:.1f}"
        rows.append([f"{label}: {', '.join(found['by_size'])}", milliseconds, exponents])
    for form, by_statistics in list(measured["batch_norm"].items())[:2]:
        milliseconds = ", ".join(f"{one['milliseconds']:.2f}" for one in by_statistics.values())
        rows.append([f"{form} batch norm: {', '.join(by_statistics)}", milliseconds, ""])
    for name in ("empirical, 32 images", "PyTorch, 32 images"):
        rows.append([f"{name} of 32 x 32, coupled", f"{measured['beside'][name]['milliseconds']:.0f}", ""])
    return table(["", "milliseconds", "exponent over all, of the two largest"], rows)


def real_batch_norm() -> str:
    """How far either form of batch norm is from the real one, by depth: of the kernel, and of the log condition number."""
    rows = [row for row in read("ntk_convergence")["real_batch_norm"]["rows"] if row["images"] != "noise"]
    depths = sorted({row["layers"] for row in rows})
    found = {
        (form, row["statistics"], row["layers"]): row[form]
        for row in rows
        for form in row
        if "mean" in form or form == "exact"
    }
    return table(
        ["form, statistics", *(f"{depth} layer{'s' * (depth > 1)}" for depth in depths)],
        [
            [f"{form}, {statistics}", *(_gap(found[form, statistics, depth]) for depth in depths)]
            for form, statistics in dict.fromkeys((form, statistics) for form, statistics, _ in found)
        ],
    )


def _gap(one: dict[str, float]) -> str:
    return f"{100 * one['relative_error']:.0f} %, {one['log_condition_number']:+.2f}"


def batch_statistics() -> str:
    """How many times as long coupled statistics take as frozen ones, by batch: the supernet, and single architectures."""
    rows = []
    for row in read("ntk_batch_statistics")["cost_of_one_kernel"]["batches"]:
        supernet = row["networks"]["supernet"]["coupled_over_frozen"]
        single = row["coupled_over_frozen_of_single_architectures_median"]
        rows.append([str(row["batch"]), f"{supernet:.1f}", f"{single:.1f}"])
    return table(["images", "supernet", "single architectures, median"], rows)


def darts_kernel_choices() -> str:
    """Kendall's tau of the analytic NTK on DARTS by depth, image size, parametrisation and statistic."""
    rows = read("ntk_darts_choices")["rows"]
    statistics_of = list(rows[0]["kendall_tau"])
    return table(
        ["cells", "images", "parametrisation", *statistics_of],
        [
            [
                str(row["cells"]),
                f"{row['side']} x {row['side']}",
                row["parametrisation"],
                *(f"{row['kendall_tau'][statistic]:.2f}" for statistic in statistics_of),
            ]
            for row in rows
        ],
    )


def darts_kernels_beside() -> str:
    """What kernels of DARTS genotypes and yardsticks add to the log-determinant: development half / other half."""
    measured = read("rank_darts_kernels")
    half_names = ("development half", "other half")
    counts = ("parameters", "flops", "path_convolutions", "depth")

    def cell(row, key):
        return " / ".join(f"{row[half][key]['mean']:.3f}" for half in half_names) if key in row[half_names[0]] else ""

    sums = [key for key in measured["rows"][-1]["all"] if key.startswith("sum, ")]
    rows = [
        [
            *(f"{mark}{row[key].replace('_', ' ')}{mark}" for key in ("of", "score")),
            *(cell(row, key) for key in ("alone", *sums, "partial tau", "partial rho")),
        ]
        for row in measured["rows"]
        if row["of"] != "read from the cells" or row["score"] in counts
        for mark in ["*" if row["score"] in counts else ""]
    ]
    heads = ["alone", *sums, "partial tau", "partial rho"]
    return table(["of", "score", *heads], rows)


def any_network() -> str:
    """Seconds and peak memory of the empirical NTK of two residual networks, here and elsewhere."""
    measured = read("ntk_any_network")
    labels = {
        "ours": "here",
        "neural_tangents_1": "neural-tangents, Jacobian contraction",
        "neural_tangents_2": "neural-tangents, NTK-vector products",
        "neural_tangents_3": "neural-tangents, structured derivatives",
        "torch_func": "PyTorch, `torch.func`",
        "torch_func_1_thread": "PyTorch, `torch.func`, one thread",
    }

    def cell(result):
        if "failed" in result:
            return result["failed"]
        memory = result["peak_mebibytes"] / 1024
        return f"{seconds(result['minimum_seconds'])} ({seconds(result['median_seconds'])}), {memory:.2f} GiB"

    rows = [
        [label, *(cell(results[way]) for results in measured["networks"].values())] for way, label in labels.items()
    ]
    return table([f"batch {measured['batch']}", *measured["networks"]], rows)


def any_network_in_blocks() -> str:
    """A large batch in blocks."""
    blocks = read("ntk_any_network")["resnet18_in_blocks"]
    head = ["ResNet-18", "seconds, minimum (median)", "peak memory"]
    name = f"batch {blocks['batch']} in blocks of {blocks['block']}"
    if "failed" in blocks:
        return table(head, [[name, blocks["failed"], ""]])
    times = f"{blocks['minimum_seconds']:.1f} ({blocks['median_seconds']:.1f})"
    return table(head, [[name, times, f"{blocks['peak_mebibytes'] / 1024:.2f} GiB"]])


def ntk_hunt() -> str:
    """Kendall's tau and Spearman's rho of many closed forms: their condition number, and the statistic that is best."""
    measured, usual = read("ntk_hunt"), "NTK, output, condition number"
    parts = ("all", "without pooling", "TransNAS class_scene", "TransNAS jigsaw", "TransNAS normal")
    rows = []
    for row in measured["rows"]:
        found = row["statistics"]
        best = max(found, key=lambda name: found[name]["all"])
        cells = [f"{found[usual][part]:.3f}" for part in parts]
        rows.append(
            [row["kernel"].replace("_", " "), *cells, best.removeprefix("NTK, output, "), f"{found[best]['all']:.3f}"]
        )
    for name in ("live_multiply_adds", "path_spatial_convolutions"):
        cells = [f"{measured['yardsticks'][name][part]:.3f}" for part in parts]
        rows.append([f"*{name.replace('_', ' ')}*", *cells, "", ""])
    heads = ["tau", "without pooling", "scene", "jigsaw", "normal", "best statistic of the kernel", "its tau"]
    return table(["kernel", *heads], rows)


def ntk_hunt_spread() -> str:
    """One statistic over draws, and averages of eight of them."""
    rows = []
    for kernel, statistics_of in read("ntk_hunt")["spread_over_draws"].items():
        for name, found in statistics_of.items():
            one = f"{sum(found['draws']) / len(found['draws']):.3f} ({found['worst']:.3f})"
            averages = [f"{figure['mean']:.3f} ({figure['worst']:.3f})" for figure in found["eight draws"].values()]
            rows.append([kernel.replace("_", " "), name, one, *averages])
    heads = ["mean of logarithms", "median of logarithms", "mean of log ranks", "Mann-Whitney"]
    return table(["kernel", "statistic", "one draw", *heads], rows)


def engines() -> str:
    """The fastest run of each engine of the empirical NTK, over that of ours."""
    labels = {"neural_tangents": "Jacobian contraction", "neural_tangents_ntvp": "NTK-vector products"}
    rows = []
    for name, by_engine in read("ntk_engines")["kernels"].items():
        fastest = min(by_engine["layerwise"]["all_seconds"])
        others = [
            f"{by_engine[engine]['minimum_over_layerwise']:.1f}" if engine in by_engine else "" for engine in labels
        ]
        rows.append([name.replace("_", " "), seconds(fastest), *others])
    return table(["network, batch, output", "layer by layer", *(f"{label} / ours" for label in labels.values())], rows)


def library_calls() -> str:
    """The first and later plain calls of the library, beside programs that the user compiled."""
    measured = read("library_calls")
    rows = []
    for name, call in measured["calls"].items():
        by_hand = call.get("user_jit")
        cells = [seconds(call["first_call_seconds"]), seconds(call["plain"]["seconds"])]
        rows.append([f"`{name}`", *cells, seconds(by_hand["seconds"]) if by_hand else ""])
    return table(["", "first call", "later", "in one's own `jax.jit`"], rows)


def line_regions() -> str:
    """Breakpoints of networks with 256 neurons on a segment, by depth."""
    rows = [row for row in read("network_depth_and_width")["line_regions"] if row["neurons"] == 256]
    biases = sorted({row["bias_variance"] for row in rows})
    found = {(row["bias_variance"], row["depth"], row["width"]): row for row in rows}

    def cells(bias, depth, width):
        row = found[bias, depth, width]
        count = row["breakpoints"]
        return [f"{count['mean']:.1f} ({count['standard_error']:.1f})", f"{row['predicted']:.1f}"]

    shapes = sorted({(row["depth"], row["width"]) for row in rows})
    heads = [f"{head}bias variance {bias:g}" for bias in biases for head in ("", "predicted, ")]
    return table(
        ["layers x width", *heads],
        [[f"{d} x {w}", *(cell for bias in biases for cell in cells(bias, d, w))] for d, w in shapes],
    )


def _condition_by_depth(kernel: str) -> str:
    rows = read("network_depth_and_width")["condition_numbers"]
    widths = sorted(rows[0]["widths"], key=int, reverse=True)
    depths = (8, 32)

    def cells(row):
        drawn = [row["widths"][width] for width in widths]
        yield figures(row["predicted"][kernel])
        for width in drawn:
            mean, error = width[kernel].values()
            yield "not of full rank" if mean is None else f"{figures(mean)} ({error:.2f})"

    found = {(row["activation"], row["phase"], row["depth"]): row for row in rows}
    phases = dict.fromkeys((row["activation"], row["phase"]) for row in rows)
    heads = [f"{depth} layers: infinite" if w is None else f"width {w}" for depth in depths for w in (None, *widths)]
    return table(
        ["", *heads],
        [[" ".join(phase), *(cell for depth in depths for cell in cells(found[*phase, depth]))] for phase in phases],
    )


def ntk_by_depth() -> str:
    """Condition numbers of the NTK of fully connected networks."""
    return _condition_by_depth("ntk")


def nngp_by_depth() -> str:
    """Condition numbers of the last layer's covariance."""
    return _condition_by_depth("nngp")
