"""The ranking command: what it writes, that it resumes, and what it says of bad input."""

import csv
import json

import jax
import numpy as np
import pytest
from conftest import EXTENSIVE, shrink

from tenas_jax import DARTS, NAS_BENCH_201
from tenas_jax.data import open_images
from tenas_jax.errors import InputError
from tenas_jax.networks import cost
from tenas_jax.rank import command as rank
from tenas_jax.records.shards import Shards
from tenas_jax.scores.catalogue import catalogue, chosen_scores, definitions_of, readable_scores
from tenas_jax.scores.scorer import Scorer, prepare
from tenas_jax.spaces.equal_cells import representatives
from tenas_jax.spaces.nasbench201_cells import canonical_string
from tenas_jax.spaces.skeleton import Skeleton

CHEAP = "effective_regions_wide,flops"


def ranked(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def called(tmp_path, *argv, output="scores.csv"):
    return rank.main(["--repeats", "1", "--output", str(tmp_path / output), *argv])


def test_a_row_an_architecture_in_order_of_the_aggregate(tmp_path, capsys):
    assert called(tmp_path, "--architectures", "40", "--scores", CHEAP) == 0
    rows = ranked(tmp_path / "scores.csv")
    assert len({row["architecture"] for row in rows}) == 40
    assert capsys.readouterr().out.splitlines()[-1] == rows[0]["architecture"]
    masks = np.stack([NAS_BENCH_201.parse(row["architecture"]) for row in rows])
    assert [int(row["flops"]) for row in rows] == cost.flops(NAS_BENCH_201, masks).tolist()
    sums = [float(row["smoothed"]) for row in rows]
    assert sums == sorted(sums, reverse=True)
    # By hand: normalised ranks of both scores, ties sharing the mean of their places, logarithms added.
    values = [[float(row[name]) for row in rows] for name in CHEAP.split(",")]
    values = [[-np.inf if np.isnan(v) else v for v in column] for column in values]
    share = [[(sum(o < v for o in c) + (sum(o == v for o in c) + 1) / 2) / 40 for v in c] for c in values]
    plain = np.log(share).sum(0)
    np.testing.assert_allclose([float(row["log_rank_sum"]) for row in rows], plain, rtol=1e-12)
    # Six edges with four other operators each; a neighbour that is not in the list counts as the architecture itself.
    far = (masks[:, None] != masks[None]).sum((2, 3, 4)) // 2
    near = [
        np.append(plain[row == 1], np.full(24 - (row == 1).sum(), own)) for row, own in zip(far, plain, strict=True)
    ]
    np.testing.assert_allclose(sums, plain + 2 * np.mean(near, axis=1), rtol=1e-12)
    record = json.loads((tmp_path / "scores.json").read_text())
    assert record["architectures"] == 40
    assert record["scores"] == CHEAP.split(",")
    assert not (tmp_path / "scores.csv.parts").exists()


def test_side_is_that_of_the_images(monkeypatch, tmp_path, capsys):
    asked = []

    def opened(*arguments, **settings):
        asked.append(settings["side"])
        raise InputError("seen")

    monkeypatch.setattr("tenas_jax.rank.job.open_images", opened)
    assert called(tmp_path, "--architectures", "3", "--side", "48") == 2
    assert asked == [48]
    assert "seen" in capsys.readouterr().err


def test_no_value_depends_on_what_is_ranked_beside_it(tmp_path):
    assert called(tmp_path, "--architectures", "30", "--scores", CHEAP) == 0
    rows = {row["architecture"]: row for row in ranked(tmp_path / "scores.csv")}
    some = sorted(rows)[::3]
    (tmp_path / "some.txt").write_text("\n".join(some))
    argv = ["--architectures", str(tmp_path / "some.txt"), "--scores", "hamming,effective_regions_wide"]
    assert called(tmp_path, *argv, output="some.csv") == 0
    for row in ranked(tmp_path / "some.csv"):
        assert row["effective_regions_wide"] == rows[row["architecture"]]["effective_regions_wide"]


def test_an_interrupted_run_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Scorer, "shard_size", 8)
    argv = ["--architectures", "60", "--scores", CHEAP]
    assert called(tmp_path, *argv) == 0
    whole = (tmp_path / "scores.csv").read_text()

    evaluated = []
    call = Scorer.__call__

    def stopping(self, masks):
        if len(evaluated) == 2:
            raise KeyboardInterrupt
        evaluated.append(len(masks))
        return call(self, masks)

    monkeypatch.setattr(Scorer, "__call__", stopping)
    assert called(tmp_path, *argv, output="again.csv") == 130
    assert "the same command goes on from there" in capsys.readouterr().err
    parts = tmp_path / "again.csv.parts"
    assert len(list(parts.glob("*.npz"))) == 2
    next(parts.glob("*.npz")).write_bytes(b"half a file")

    counted = []
    monkeypatch.setattr(Scorer, "__call__", lambda self, masks: counted.append(len(masks)) or call(self, masks))
    assert called(tmp_path, *argv, output="again.csv") == 0
    assert (tmp_path / "again.csv").read_text() == whole
    distinct = json.loads((tmp_path / "again.json").read_text())["distinct"]
    assert sum(counted) == distinct - 8


def test_another_run_is_not_mixed_in(tmp_path, capsys):
    Shards(tmp_path / "scores.csv.parts", {"space": "another"})
    assert called(tmp_path, "--architectures", "5", "--scores", CHEAP) == 2
    assert "holds the beginning of another ranking" in capsys.readouterr().err


def test_a_disc_that_is_full_loses_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Scorer, "shard_size", 8)
    argv = ["--architectures", "30", "--scores", CHEAP]
    saved = np.savez
    count = []

    def full(file, **arrays):
        count.append(1)
        if len(count) == 3:
            raise OSError(28, "No space left on device")
        saved(file, **arrays)

    monkeypatch.setattr("numpy.savez", full)
    assert called(tmp_path, *argv) == 2
    assert "No space left on device); make room" in capsys.readouterr().err
    assert len(list((tmp_path / "scores.csv.parts").glob("[0-9]*.npz"))) == 2
    assert not list((tmp_path / "scores.csv.parts").glob(".*tmp"))
    assert called(tmp_path, *argv) == 0


def test_correlation_with_a_table(tmp_path, capsys):
    masks = NAS_BENCH_201.sample(jax.random.key(3), 50)
    names = sorted({NAS_BENCH_201.format(mask) for mask in masks})
    flops = [cost.flops(NAS_BENCH_201, NAS_BENCH_201.parse(name)) for name in names]
    (tmp_path / "names.csv").write_text("architecture\n" + "\n".join(names))
    rows = [f"{name},{value / 1e6}" for name, value in zip(names, flops, strict=True)]
    (tmp_path / "table.csv").write_text("architecture,accuracy\n" + "\n".join(rows[5:]))
    argv = ["--architectures", str(tmp_path / "names.csv"), "--scores", "flops", "--benchmark"]
    assert called(tmp_path, *argv, str(tmp_path / "table.csv")) == 0
    captured = capsys.readouterr()
    assert f"lacks 5 of {len(names)} architectures" in captured.err
    figures = json.loads((tmp_path / "scores.json").read_text())["correlation"]["scores"]["flops"]
    assert figures["kendall_tau"]["value"] == pytest.approx(1)
    assert figures["best_of_top_1"]["value"] == pytest.approx(max(flops) / 1e6)
    assert (tmp_path / "scores.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "scores.svg").read_text()[:1000]


def test_a_score_that_is_the_same_for_all_ranks_nothing(tmp_path, capsys):
    names = [f"|{op}~0|+|none~0|none~1|+|none~0|none~1|none~2|" for op in ("none", "skip_connect", "avg_pool_3x3")]
    (tmp_path / "names.txt").write_text("\n".join(names))
    (tmp_path / "table.csv").write_text("architecture,accuracy\n" + "\n".join(f"{n},{i}" for i, n in enumerate(names)))
    argv = ["--architectures", str(tmp_path / "names.txt"), "--scores", f"effective_regions_wide,{'parameters'}"]
    assert called(tmp_path, *argv, "--benchmark", str(tmp_path / "table.csv")) == 0
    assert "the same for all: ranks nothing" in capsys.readouterr().out
    assert {row["effective_regions_wide_health"] for row in ranked(tmp_path / "scores.csv")} == {"disconnected"}


@pytest.mark.slow
@pytest.mark.parametrize("size", ["small", pytest.param("whole", marks=EXTENSIVE)])
def test_all_scores_of_nas_bench_201(size, tmp_path, monkeypatch):
    if size == "small":
        one_stage = Skeleton(channels=3, cells=1, stages=1)
        kernels = {"images": 4, "side": 4, "skeleton": one_stage}
        shrink(monkeypatch, kernels=kernels, patterns={"samples": 60, "batches": 1})
    names = catalogue(NAS_BENCH_201)
    assert called(tmp_path, "--architectures", "12", "--scores", ",".join(names)) == 0
    rows = ranked(tmp_path / "scores.csv")
    connected = [row for row in rows if NAS_BENCH_201.is_connected(NAS_BENCH_201.parse(row["architecture"]))]
    assert len(connected) > 6
    for name in names:
        assert len({row[name] for row in connected}) > 2, name


@pytest.mark.slow
def test_darts_genotypes_of_a_table(tmp_path, monkeypatch):
    shrink(monkeypatch, patterns={"skeleton": DARTS.skeleton("regions")})
    masks = DARTS.sample(jax.random.key(0), 3)
    pairs = []
    for mask in masks:
        cells = []
        for choice in DARTS.choice(mask):
            kept = [(DARTS.operators[o], s, t) for o, (s, t) in zip(choice, DARTS.edges, strict=True) if o]
            cells.append(" ".join(f"{operator}~{source}" for operator, source, _ in sorted(kept, key=lambda k: k[2])))
        pairs.append(",".join(cells))
    (tmp_path / "table.csv").write_text("normal,reduce,accuracy\n" + "\n".join(f"{p},{i}" for i, p in enumerate(pairs)))
    argv = [
        "--space",
        "darts",
        "--architectures",
        str(tmp_path / "table.csv"),
        "--benchmark",
        str(tmp_path / "table.csv"),
    ]
    assert called(tmp_path, *argv) == 0
    rows = ranked(tmp_path / "scores.csv")
    assert {row["architecture"] for row in rows} == {DARTS.format(mask) for mask in masks}
    assert {row["hamming_log_determinant_health"] for row in rows} <= {"distinct", "shared"}
    assert len({row["hamming_log_determinant"] for row in rows}) == 3


def test_engines_of_the_empirical_kernel_give_the_same_scores(tmp_path):
    argv = ["--architectures", "3", "--scores", "condition_number_one_stage", "--ntk", "empirical"]
    columns = []
    for engine in ("auto", "layerwise", "neural_tangents"):
        assert called(tmp_path, *argv, "--ntk-engine", engine, output=f"{engine}.csv") == 0
        rows = {
            row["architecture"]: float(row["condition_number_one_stage"]) for row in ranked(tmp_path / f"{engine}.csv")
        }
        columns.append([rows[name] for name in sorted(rows)])
        assert json.loads((tmp_path / f"{engine}.json").read_text())["ntk_engine"] == engine
    np.testing.assert_allclose(columns[1], columns[0], rtol=1e-6)
    # A condition number multiplies by itself what rounding makes of a kernel in single precision.
    ours, theirs = np.array(columns[0]), np.array(columns[2])
    assert (np.abs(theirs / ours - 1) < ours * np.finfo(np.float32).eps).all()


def test_an_engine_is_part_of_what_a_run_is():
    scores = chosen_scores(NAS_BENCH_201, ["condition_number"], "empirical")
    named = readable_scores(NAS_BENCH_201, ["condition_number"], "empirical", "neural_tangents")
    usual = readable_scores(NAS_BENCH_201, ["condition_number"], "empirical", "auto")
    assert definitions_of(scores) == definitions_of(usual)
    assert definitions_of(scores) != definitions_of(named)


def test_equal_cells_have_equal_kernels(rng):
    """Of classes of equal cells, members differ in nothing that a kernel sees, up to rounding."""
    space = NAS_BENCH_201
    classes = {}
    for mask in space.enumerate():
        if space.is_connected(mask):
            classes.setdefault(canonical_string(mask), []).append(mask)
    crowded = [members for members in classes.values() if len(members) > 1]
    chosen = [crowded[i] for i in rng.choice(len(crowded), 12, replace=False)]
    evaluation = prepare(
        NAS_BENCH_201, chosen_scores(NAS_BENCH_201, ["condition_number_one_stage"]), open_images(), repeats=1
    )
    for members in chosen:
        values = evaluation(np.stack(members)).values["condition_number_one_stage"][0]
        finite = np.log(values[np.isfinite(values)])
        assert len(finite) in (0, len(values))
        np.testing.assert_allclose(finite, finite[:1].repeat(len(finite)), rtol=0.02)
        assert len(np.unique(representatives(space, np.stack(members)), axis=0)) == 1


def test_nodes_of_darts_in_another_order_are_the_same():
    mask = DARTS.sample(jax.random.key(5), 1)[0]
    choice = DARTS.choice(mask)
    numbers = {edge: e for e, edge in enumerate(DARTS.edges)}
    kept = [(0, 2, 1), (1, 2, 2), (0, 3, 3), (1, 3, 4), (0, 4, 1), (3, 4, 2), (2, 5, 3), (4, 5, 5)]
    other = choice.copy()
    choice[0] = other[0] = 0
    swap = {2: 3, 3: 2}  # neither reads the other
    for source, target, operator in kept:
        choice[0, numbers[source, target]] = operator
        other[0, numbers[swap.get(source, source), swap.get(target, target)]] = operator
    assert (choice != other).any()
    one, two = representatives(DARTS, DARTS.one_hot(np.stack([choice, other])))
    assert np.array_equal(one, two)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--scores", "beauty"], "'beauty' is unknown; nasbench201 has condition_number"),
        (["--scores", "flops,flops"], "flops is asked for twice"),
        (["--scores", ","], "at least one score is needed"),
        (["--architectures", "0"], "must be from 1 to 15,625"),
        (["--architectures", "15626"], "must be from 1 to 15,625"),
        (["--architectures", "nowhere.txt"], "file that can be read; nowhere.txt cannot"),
        (["--space", "darts"], "darts is too large to enumerate"),
        (["--space", "mars"], "'mars' is unknown"),
        (["--repeats", "0"], "--repeats must be a whole number from 1 to 10000; it is 0"),
        (["--seed", "-1"], "--seed must be a whole number from 0"),
        (["--ntk", "magic"], "'magic' is unknown"),
        (["--ntk", "empirical", "--ntk-engine", "magic"], "the engine 'magic' is unknown; choose --ntk-engine auto, "),
        (["--ntk-engine", "layerwise"], "no score at hand is read from one"),
        (["--benchmark", "nowhere.csv"], "cannot be read as csv"),
        (["--frobnicate"], "unrecognized arguments"),
    ],
)
def test_bad_input_is_one_sentence(argv, message, capsys, tmp_path):
    assert rank.main(["--output", str(tmp_path / "scores.csv"), *argv]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no architecture"),
        ("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|\n\n|oops|", "line 3 of"),
    ],
)
def test_bad_files_of_architectures(tmp_path, capsys, content, message):
    (tmp_path / "names.txt").write_text(content)
    assert called(tmp_path, "--architectures", str(tmp_path / "names.txt"), "--scores", CHEAP) == 2
    assert message in capsys.readouterr().err


def test_duplicates_are_listed_once(tmp_path, capsys):
    name = "|nor_conv_1x1~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|"
    (tmp_path / "names.txt").write_text(f"{name}\n{name}\n|none~0|+|none~0|none~1|+|none~0|none~1|none~2|\n")
    assert called(tmp_path, "--architectures", str(tmp_path / "names.txt"), "--scores", "flops") == 0
    assert "1 architectures came twice" in capsys.readouterr().err
    assert len(ranked(tmp_path / "scores.csv")) == 2
