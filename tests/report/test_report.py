"""The page of a run: well-formed, self-contained, and with every reason that the records hold."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from conftest import scored_by

from tenas_jax import DARTS, NAS_BENCH_201
from tenas_jax.records.run_folder import RunFolder
from tenas_jax.report.page import report
from tenas_jax.search import command as search
from tenas_jax.search import strategies
from tenas_jax.search.budget import Budget
from tenas_jax.search.config import Config
from tenas_jax.spaces.single_input import PRESETS
from tenas_jax.spaces.two_inputs import PRESETS as DARTS_PRESETS

RESULT = {
    "dataset": "synthetic",
    "seed": 0,
    "wall_seconds": 1.0,
    "compile_seconds": 0.5,
    "evaluations": 100,
    "cost": {"parameters": 1234567, "flops": 7654321},
    "benchmark": None,
    "versions": {"jax": "<1>"},
    "device": "cpu: cpu",
}


class Page(HTMLParser):
    """Text, the words of every table's rows, and tags that were opened and not closed where they have to be."""

    OPTIONAL = frozenset({"tr", "td", "th", "meta", "circle", "path", "dt", "dd", "li", "p"})

    def __init__(self, text):
        super().__init__()
        self.open, self.rows, self.attributes = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th") and self.rows:
            self.rows[-1].append("")
        if tag not in self.OPTIONAL:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.OPTIONAL:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if "table" in self.open and self.rows[-1]:
            self.rows[-1][-1] += data


def pruned(space, preset, folder, budget=None):
    rng = np.random.default_rng(0)
    indicators = [
        scored_by("condition_number", True, rng.normal(size=space.mask_shape)),
        scored_by("linear_regions", False, rng.normal(size=space.mask_shape)),
    ]
    with RunFolder(folder, {}) as run:
        architecture = space.format(strategies.prune_in_folder(0, space, indicators, preset, run, budget))
    config = {"rule": preset.rule, "preset": "<default>"}
    return run, RESULT | {"strategy": "prune", "architecture": architecture, "config": config}


@pytest.mark.parametrize("space", [NAS_BENCH_201, DARTS], ids=lambda space: space.name)
@pytest.mark.parametrize("name", ["default", "released"])
def test_every_operator_that_went_has_its_reasons(tmp_path, space, name):
    preset = (PRESETS if space is NAS_BENCH_201 else DARTS_PRESETS)[name]
    run, result = pruned(space, preset, tmp_path / "run")
    text = report(run, space, result)
    page = Page(text)
    assert not page.open
    candidates = [(r["round"], c) for r in run.rounds for c in r["candidates"] if c["pruned"]]
    expected = []
    for number, c in candidates:
        cell = f" {c['cell']}" if len(space.cells) > 1 else ""
        expected.append([str(number), f"{c['source']} → {c['target']}{cell}", c["operator"]])
    reasons = [row for row in page.rows if row[0].isdecimal()]
    assert [row[:3] for row in reasons] == expected
    for row, (_, c) in zip(reasons, candidates, strict=True):
        for words, change in zip(row[3:], c["changes"].values(), strict=True):
            if preset.rule == "completion":
                factor = float(words.partition(" ")[0])
                assert factor == pytest.approx(np.exp(abs(change)), abs=0.006)
                assert ("down" in words) == (change < 0)
            else:
                assert float(words.partition("%")[0]) == pytest.approx(100 * float(change), abs=0.06)
    # As many frames as operators that went, in the maps.
    assert text.count('class="heat gone"') == len(candidates)


def test_what_is_too_dear_says_so(tmp_path):
    run, result = pruned(NAS_BENCH_201, PRESETS["default"], tmp_path / "run", Budget(flops=60_000_000))
    page = Page(report(run, NAS_BENCH_201, result))
    over_budget = [row for row in page.rows if row[-1] == "no architecture with it meets the limits on cost"]
    assert len(over_budget) == sum(len(r["unaffordable"]) for r in run.rounds) > 0


def test_the_page_needs_nothing_else_and_text_stays_text(tmp_path):
    run, result = pruned(NAS_BENCH_201, PRESETS["default"], tmp_path / "run")
    text = report(run, NAS_BENCH_201, result)
    assert not [a for a in Page(text).attributes if a[1] in ("src", "href")]
    assert "<script" not in text
    assert "&lt;default&gt;" in text
    assert "&lt;1&gt;" in text
    drawn = re.findall(r"<title>(\w+)</title>", text)
    choice = NAS_BENCH_201.choice(NAS_BENCH_201.parse(result["architecture"]))
    assert drawn[:6] == [NAS_BENCH_201.operators[o] for o in choice[0] if NAS_BENCH_201.operators[o] != "none"]


@pytest.mark.parametrize("strategy", ["evolve", "exhaustive"])
def test_other_strategies_have_a_page_too(tmp_path, strategy):
    evaluations = 96 if strategy == "evolve" else None
    config = Config(strategy=strategy, evaluations=evaluations, repeats=1, max_flops=9_000_000, output=tmp_path / "run")
    architecture = search.run(config)
    page = Page((tmp_path / "run" / "report.html").read_text())
    assert not page.open
    rows = [row for row in page.rows if architecture in row]
    assert rows
    lines = (tmp_path / "run" / "rounds.jsonl").read_text().splitlines()
    if strategy == "evolve":
        generations = [row for row in page.rows if row[0].isdecimal() and len(row) > 3]
        assert [row[-1] for row in generations] == [json.loads(line)["best"] for line in lines]
