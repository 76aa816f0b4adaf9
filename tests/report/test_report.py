"""The page of a run: well-formed, self-contained, and with every number and reason that the records hold."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import report_runs as made

from tenas_jax import DARTS, NAS_BENCH_201
from tenas_jax.errors import InputError
from tenas_jax.records import seal
from tenas_jax.records.run_folder import RunFolder
from tenas_jax.report import command, compare, listed, listing, page, pruned, run_files, trained
from tenas_jax.report.cells import edge_name
from tenas_jax.report.shapes import Points
from tenas_jax.search.budget import Budget

MOST_BYTES = 2_000_000


class Page(HTMLParser):
    """Texts by tag and class, JSON of scripts, and tags that were opened and not closed where they have to be."""

    VOID = frozenset({"meta", "link", "input", "br"})

    def __init__(self, text):
        super().__init__()
        self.open, self.rows, self.attributes, self.why, self.scripts = [], [], [], [], {}
        self._script = None
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, *pair) for pair in attrs]
        attrs = dict(attrs)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        elif tag == "li" and attrs.get("class") == "why":
            self.why.append("")
        elif tag == "script" and "id" in attrs:
            self._script = attrs["id"]
        if tag not in self.VOID and not self.get_starttag_text().endswith("/>"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.attributes += [(tag, *pair) for pair in attrs]

    def handle_data(self, data):
        if self._script:
            self.scripts[self._script] = json.loads(data)
            self._script = None
        elif "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data
        elif "li" in self.open and self.why:
            self.why[-1] += data


def page_of(path):
    text = page.report(run_files.read_run(path))
    assert "cannot be shown" not in text
    assert len(text.encode()) < MOST_BYTES
    return Page(text)


@pytest.mark.parametrize("space", [NAS_BENCH_201, DARTS], ids=lambda space: space.name)
@pytest.mark.parametrize("preset", ["default", "released"])
def test_every_operator_that_went_has_its_reasons(tmp_path, space, preset):
    path = made.pruned(tmp_path / "run", space, preset)
    found, rounds = page_of(path), made.lines_of(path)
    went = [c for record in rounds for c in record["candidates"] if c["pruned"]]
    assert len(found.why) == len(went)
    for text, c in zip(found.why, went, strict=True):
        assert text.startswith(f"{c['operator']} went from {edge_name(space, c['source'], c['target'])}")
        for name, change in c["changes"].items():
            words = re.search(rf"{name.replace('_', ' ')}: (?:ranks )?([-+.\d]+)", text)
            assert words
            if preset == "default":
                assert ("better" if change >= 0 else "worse") in text.partition(words[0])[2][:20]
                assert float(words[1]) == pytest.approx(np.exp(abs(change)), abs=0.006)
            else:
                assert float(words[1]) == pytest.approx(100 * float(change), abs=0.06)
    # As many frames as operators that went, in the maps, and the real values of all candidates in the table.
    assert sum(a == ("td", "class", "heat gone") for a in found.attributes) == len(went)
    rows = found.scripts["rows"]
    heads = [column["name"] for column in rows["columns"]]
    candidates = [c for record in rounds for c in record["candidates"]]
    shown = rows["values"][heads.index("condition_number")]
    assert len(shown) == len(candidates)
    for value, c in zip(shown, candidates, strict=True):
        recorded = c["scores"]["condition_number"]
        real = np.exp(recorded) if preset == "default" else recorded
        assert value == pytest.approx(real, rel=1e-3)
    assert rows["columns"][heads.index("condition_number")]["note"] == "lower is better"


def test_margins_in_units_of_their_noise(tmp_path):
    path = made.pruned(tmp_path / "run")
    run = run_files.read_run(path)
    record = made.lines_of(path)[0]
    (gone,) = [c for c in record["candidates"] if c["pruned"]]
    next_one = sorted(record["candidates"], key=lambda c: c["total"])[1]
    ratio = (next_one["total"] - gone["total"]) / np.hypot(gone["noise"], next_one["noise"])
    (found,) = pruned.why(run, record)
    assert f"{ratio:.1f} standard errors" in found["margin"]
    assert next_one["operator"] in found["margin"]
    assert ("coin toss" in found["margin"]) == (ratio < 1)
    for candidate in record["candidates"]:
        candidate["total"] = 0.0
    assert "a coin toss" in pruned.why(run, record)[0]["margin"]


def test_what_is_too_dear_says_so(tmp_path):
    path = made.pruned(tmp_path / "run", limits=Budget(flops=60_000_000))
    dear = [text for text in page_of(path).why if "no architecture with it meets the limits on cost" in text]
    assert len(dear) == sum(len(record["unaffordable"]) for record in made.lines_of(path)) > 0


def test_the_slider_has_what_is_alive(tmp_path):
    path = made.pruned(tmp_path / "run")
    steps = page_of(path).scripts["steps"]
    for step, record in zip(steps, made.lines_of(path), strict=True):
        alive = np.array(record["alive"])[0][:, NAS_BENCH_201.carriers].sum(-1)
        assert [step["shares"][f"0.{edge}"] * 4 for edge in range(6)] == alive.tolist()


def test_scores_stand_among_others(tmp_path):
    """2 is the second best of 2, 1, 3 and infinity where less is better, and the third best where more is."""
    headline = page._headline(run_files.read_run(made.pruned(tmp_path / "run")), None)
    facts = {name: (value, words) for name, value, words in headline["facts"]}
    assert facts["condition number"] == ("2", "place 2 of 4, beside random architectures; lower is better")
    assert facts["linear regions"] == ("2", "place 3 of 4, beside random architectures; higher is better")
    assert facts["parameters"][0] == "1,234,567"


def test_evolution(tmp_path):
    path = made.evolved(tmp_path / "run")
    rows = page_of(path).scripts["rows"]
    table = listed.seen(run_files.read_run(path))
    records = made.lines_of(path)
    assert table.strings[0] == records[0]["best"]
    for record in records:
        for name, value in zip(record["architectures"], record["scores"]["linear_regions"], strict=True):
            assert table.columns["linear_regions"][table.strings.index(name)] == value
    heads = [column["name"] for column in rows["columns"]]
    assert rows["values"][heads.index("linear_regions")] == [listing.plain(v) for v in table.columns["linear_regions"]]
    best, middle = listed.generations(run_files.read_run(path))[0], np.median
    assert "1 of" not in best.note
    assert middle([1, 3]) == 2


@pytest.mark.parametrize("finish", [True, False])
def test_a_training_has_curves(tmp_path, finish):
    path = made.trained(tmp_path / "run", finish=finish)
    run = run_files.read_run(path)
    assert run.kind == "train"
    text = page.report(run)
    assert "Epoch by epoch" in text
    assert "cannot be shown" not in text
    assert ("not finished" in text) == (not finish)
    loss, top1, _ = trained.curves(run)
    dots = [shape for shape in top1.picture.shapes if isinstance(shape, Points)]
    # From the largest to the smallest accuracy, downwards, in the order of the records.
    for part, shape in zip(("train", "val"), dots, strict=True):
        values = [record[part]["top1"] for record in made.lines_of(path)]
        heights = [y for _, y in shape.places]
        assert np.argsort(heights).tolist() == np.argsort(values)[::-1].tolist()
    assert loss.note == ""
    assert run.result["architecture"] in text


def test_all_of_nasbench201_on_one_page(tmp_path):
    path = made.ranked(tmp_path / "scores.csv")
    found = page_of(path)
    rows, table = found.scripts["rows"], run_files.read_run(path).table
    assert len(rows["values"][0]) == 15_625
    names = []
    for short in rows["values"][1]:
        marks = iter(short)
        names.append(re.sub("#", lambda _, marks=marks: rows["marks"][next(marks)], rows["template"]))
    assert names == table.strings
    for place, column in enumerate(rows["columns"][2:], 2):
        values = table.columns[column["name"]]
        if values.dtype.kind == "f":
            np.testing.assert_allclose(np.array(rows["values"][place], float), values, rtol=1e-3)
        else:
            packed = rows["values"][place]
            assert [packed["texts"][code] for code in packed["codes"]] == values.tolist()
    first = [row for row in found.rows if table.strings[0] in row]
    assert first[0][0] == "1"


def test_what_is_not_drawn_is_said(tmp_path):
    run = run_files.read_run(made.ranked(tmp_path / "scores.csv"))
    (shown, *others) = listed.against_accuracy(run, run.table)
    accuracy = run.table.columns["accuracy"]
    below = int((accuracy < np.quantile(accuracy, 0.05)).sum())
    assert f"{below} of 15,625 are below" in shown.note
    assert all("1,200 of" in plot.note for plot in others)
    first = listed.histograms(run, run.table)[1]
    assert "7 of 15,625 are not finite" in first.note


def test_too_many_rows_are_cut_and_said(tmp_path, monkeypatch):
    monkeypatch.setattr(listing, "MOST_BYTES", 20_000)
    text = page.report(run_files.read_run(made.ranked(tmp_path / "scores.csv", 1000)))
    (count,) = re.findall(r"The first (\d+) of 1,000 are on this page", text)
    assert len(Page(text).scripts["rows"]["values"][0]) == int(count) < 1000


def test_a_pareto_front_by_comparing_all_pairs():
    rng = np.random.default_rng(0)
    cost, goodness = rng.integers(0, 12, (2, 60)).astype(float)
    front = listing.pareto_front(cost, goodness)

    def beaten(n):
        better = (cost <= cost[n]) & (goodness >= goodness[n]) & ((cost < cost[n]) | (goodness > goodness[n]))
        return better.any()

    points = {(cost[n], goodness[n]) for n in range(60) if not beaten(n)}
    assert {(cost[n], goodness[n]) for n in front} == points
    assert len(front) == len(points)


HOSTILE = "</script><img src=x onerror=alert(1)>'\"&{{7*7}}"


def test_hostile_names_stay_text(tmp_path):
    path = made.ranked(tmp_path / "scores.csv", 50, record={"dataset": HOSTILE, "device": HOSTILE})
    lines = path.read_text().splitlines()
    fields = lines[1].split(",")[1:]
    lines[1] = '"' + HOSTILE.replace('"', '""') + '",' + ",".join(fields)
    path.write_text("\n".join([lines[0].replace("trace_over_smallest,", "<b>score</b>,", 1), *lines[1:]]) + "\n")
    text = page.report(run_files.read_run(path))
    assert "<img" not in text
    assert "<b>" not in text
    assert "{{7*7}}" in text
    found = Page(text)
    assert found.scripts["rows"]["values"][1][0] == HOSTILE
    assert not [a for a in found.attributes if a[1] in ("src", "onerror") or (a[1] == "href" and a[2] != "data:,")]


def test_an_unfinished_run_is_shown_and_marked(tmp_path):
    text = page.report(run_files.read_run(made.pruned(tmp_path / "run", finish=False)))
    assert "This run is not finished" in text
    assert Page(text).why


@pytest.mark.parametrize("name", ["config.json", "rounds.jsonl", "result.json", "beside.json"])
@pytest.mark.parametrize("harm", ["cut", "changed", "empty", "noise"])
def test_damaged_files_are_marked_and_the_rest_is_shown(tmp_path, name, harm):
    path = made.pruned(tmp_path / "run")
    data = (path / name).read_bytes()
    half = len(data) // 2
    changed = {"cut": data[:half], "empty": b"", "noise": bytes(range(256)) * 4}
    changed["changed"] = data[:half] + bytes([data[half] ^ 1]) + data[half + 1 :]
    (path / name).write_bytes(changed[harm])
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    run = run_files.read_run(path)
    if (name, harm) != ("rounds.jsonl", "empty"):
        assert any(name in sentence for sentence in run.damage)
    found = Page(page.report(run))
    assert found.attributes
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before


def test_newer_files_are_marked(tmp_path):
    path = made.pruned(tmp_path / "run")
    content = json.loads((path / "result.json").read_text()) | {"format": seal.FORMAT + 1, "sha256": "something else"}
    (path / "result.json").write_text(json.dumps(content))
    run = run_files.read_run(path)
    assert any("newer version" in sentence for sentence in run.damage)
    assert content["architecture"].split("~")[0].strip("|") in page.report(run)


def test_a_table_that_was_edited_is_marked(tmp_path):
    path = made.ranked(tmp_path / "scores.csv", 50)
    path.write_text(path.read_text().replace("full rank", "half rank", 1))
    assert any("edited" in sentence for sentence in run_files.read_run(path).damage)
    path.write_text("nothing\n")
    with pytest.raises(InputError, match="no column `architecture`"):
        run_files.read_run(path)


def test_spaces_of_somebody_are_drawn_without_their_code(tmp_path):
    identity = {
        "name": "theirs", "operators": ["none", "a<b", "c"], "cells": ["cell"], "inputs": 1,
        "edges": [[0, 1], [0, 2], [1, 2]], "kept_edges": None, "skeletons": {}, "code_sha256": "0" * 64,
    }  # fmt: skip
    with RunFolder(tmp_path / "run", {"space": identity, "strategy": "prune"}) as run:
        run.finish(made.RESULT | {"architecture": "any text", "choice": [[1, 0, 2]], "strategy": "prune", "config": {}})
    text = page.report(run_files.read_run(tmp_path / "run"))
    assert "a&lt;b, in → 1" in text
    assert "c, 1 → out" in text


def test_runs_are_compared_edge_by_edge(tmp_path):
    runs = []
    for number in range(3):
        path = made.evolved(tmp_path / f"run{number}")
        runs.append(run_files.read_run(path))
    other = NAS_BENCH_201.format(NAS_BENCH_201.one_hot(np.zeros((1, 6), int)))
    runs[2] = runs[2]._replace(result=runs[2].result | {"architecture": other})
    choice = NAS_BENCH_201.choice(NAS_BENCH_201.parse(runs[0].result["architecture"]))[0]
    for row, operator in zip(compare.agreement(runs), choice.tolist(), strict=True):
        name = NAS_BENCH_201.operators[operator]
        assert row["votes"][0] == (name, 3 if operator == 0 else 2)
    found = Page(compare.compared(runs))
    assert [row[7] for row in found.rows if "evolve" in row] == ["2", "2", "1"]


def test_the_command_makes_the_same_page_again(tmp_path, monkeypatch, capsys):
    path = made.ranked(tmp_path / "scores.csv", 60)
    pytest.importorskip("matplotlib")
    assert command.main([str(path), "--figures", str(tmp_path / "figures")]) == 0
    out = capsys.readouterr().out.strip()
    assert out == str(tmp_path / "scores.html")
    assert (tmp_path / "scores.html").read_text() == page.report(run_files.read_run(path))
    names = {file.stem for file in (tmp_path / "figures").iterdir()}
    assert {"cell-cell", "front-0", "accuracy-0", "histograms-0", "pairs-0"} <= names | {"front-0"}
    monkeypatch.chdir(tmp_path)
    assert command.main([str(made.evolved(tmp_path / "a")), str(path)]) == 0
    assert "2 runs" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("name", ["nothing", "empty", "file.txt"])
def test_what_is_no_run_is_one_sentence(tmp_path, capsys, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").write_text("text")
    assert command.main([str(tmp_path / name)]) == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err.count("\n") == 1
    assert "run" in found.err
