"""The figures of the README and of docs/ are those of the result files."""

import re

import pytest

import docs_figures
from common import figures
from common.records import ROOT
from common.tables import TABLES

DOCUMENTS = figures.documents()


@pytest.mark.parametrize(("table", "document"), TABLES.items(), ids=[table.__name__ for table in TABLES])
def test_documents_show_what_was_measured(table, document):
    shown = (ROOT / document).read_text()
    assert f"<!-- block: {table.__name__} -->\n\n{table()}\n\n<!-- end -->" in shown, (
        "run benchmarks/docs_figures.py --write"
    )


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_figures_in_a_text_are_those_of_their_files(path):
    text = path.read_text()
    # A mark that is not understood would be skipped in silence.
    assert len(figures.FIGURE.findall(text)) == text.count("<!--=")
    assert len(figures.BLOCK.findall(text)) == text.count("<!-- block:")
    assert figures.refreshed(text) == text, "run benchmarks/docs_figures.py --write"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_every_measured_number_names_its_file(path):
    assert figures.unmarked(path.read_text()) == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_result_files_that_are_named_are_there(path):
    named = re.findall(r"`(?:benchmarks/results/)?(\w+\.json)`", path.read_text())
    of_runs = {"config.json", "result.json", "scores.json", "beside.json", "seeds.json", "architecture.json"}
    assert [name for name in named if name not in of_runs and not (figures.RESULTS / name).exists()] == []


def test_a_wrong_figure_is_found_and_mended():
    right = "takes 3.2<!--= rank_speed.ours.seconds * 1000 ; .1f --> ms"
    assert figures.refreshed(right.replace("3.2", "99.9")) == figures.refreshed(right)
    assert (
        figures.shown("rank_speed.ours.seconds * 1000", ".1f")
        == f"{1000 * figures.read('rank_speed')['ours']['seconds']:.1f}"
    )
    table = "<!-- block: rank_speed -->\nold\n<!-- end -->"
    assert "old" not in figures.refreshed(table)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("tau is 0.78 there", 1),
        ("tau is .78 there", 1),
        ("in 12 s and 4 ms", 2),
        ("about 5 % of it, or 5%", 2),
        ("1251 times as long", 1),
        ("8 images of 4 x 4, seeds 20 to 29, Python 3.11, section 3.1.2", 0),
        ("`0.78`, [page](a_0.78.md), 0.78<!--= rank_speed.ratio ; .2f -->", 0),
        ("```\n0.78\n```\n\n    y = 0.5 x\n", 0),
    ],
)
def test_numbers_that_look_measured(text, found):
    assert len(figures.unmarked(text)) == found


def test_an_expression_that_leads_nowhere_says_where_it_ended():
    with pytest.raises(LookupError, match=r"rank_speed\.ours has no 'second', but \['seconds'"):
        figures.value_of("rank_speed.ours.second")
    with pytest.raises(LookupError, match=r"rows has 2 rows"):
        figures.value_of('rank_accuracy.nasbench201.rows(score="smoothed")')


def test_documents_are_compared_and_written(tmp_path, monkeypatch, capsys):
    page = tmp_path / "page.md"
    page.write_text("Takes 99<!--= rank_speed.architectures --> of them.\n")
    monkeypatch.setattr(docs_figures, "documents", lambda: [page])
    monkeypatch.setattr(docs_figures, "ROOT", tmp_path)
    assert docs_figures.main([]) == 1
    assert "-Takes 99<" in capsys.readouterr().out
    assert docs_figures.main(["--write"]) == 0
    assert page.read_text() == "Takes 100<!--= rank_speed.architectures --> of them.\n"
    assert docs_figures.main([]) == 0
    page.write_text("Takes 12 s.\n")
    assert docs_figures.main(["--write"]) == 1
    assert page.read_text() == "Takes 12 s.\n"
