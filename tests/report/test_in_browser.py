"""Pages in headless Chromium, from the disc: nothing is cut, nothing is fetched, and what can be used works."""

import os
import shutil

import pytest
import report_runs as made

from tenas_jax import DARTS
from tenas_jax.report import compare, page, run_files

ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
WIDTHS = (360, 768, 1440)
CUT = """() => {
  const found = [], wide = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > wide) found.push("the page scrolls sideways");
  for (const part of document.querySelectorAll("h1,h2,h3,p,li,dt,dd,button,input,svg,figcaption,code,figure")) {
    const box = part.getBoundingClientRect();
    if (!box.width || part.closest(".wide")) continue;
    if (box.right > wide + 1 || box.left < -1) found.push("cut: " + part.outerHTML.slice(0, 80));
  }
  for (const svg of document.querySelectorAll("svg")) {
    const view = svg.viewBox.baseVal;
    if (!svg.getBoundingClientRect().width) continue;
    for (const text of svg.querySelectorAll("text")) {
      const box = text.getBBox();
      if (box.x < -1 || box.y < -1 || box.x + box.width > view.width + 1 || box.y + box.height > view.height + 1)
        found.push("cut in a drawing: " + text.textContent);
    }
  }
  return found;
}"""
OVERLAPS = """() => {
  const found = [];
  for (const svg of document.querySelectorAll("svg")) {
    const boxes = [...svg.querySelectorAll("text")].map(text => [text, text.getBBox()]);
    boxes.forEach(([one, a], n) => boxes.slice(0, n).forEach(([other, b]) => {
      if (a.x + 1 < b.x + b.width && b.x + 1 < a.x + a.width && a.y + 4 < b.y + b.height && b.y + 4 < a.y + a.height)
        found.push(one.textContent + " and " + other.textContent);
    }));
  }
  return found;
}"""


@pytest.fixture(scope="module")
def browser():
    """Skips, with the reason, where there is no Chromium or no playwright; the gate installs both."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    where = os.environ.get("TENAS_CHROMIUM") or shutil.which("chromium")
    if not where:
        pytest.skip("there is no Chromium: apt-get install chromium, or name it by TENAS_CHROMIUM")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=where, args=list(ARGUMENTS))
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A page of every kind."""
    folder = tmp_path_factory.mktemp("pages")
    runs = {
        "prune": made.pruned(folder / "prune"),
        "darts": made.pruned(folder / "darts", DARTS),
        "unfinished": made.pruned(folder / "unfinished", finish=False),
        "train": made.trained(folder / "train"),
        "evolve": made.evolved(folder / "evolve"),
        "rank": made.ranked(folder / "scores.csv"),
    }
    texts = {name: page.report(run_files.read_run(path)) for name, path in runs.items()}
    texts["compare"] = compare.compared([run_files.read_run(runs[name]) for name in ("prune", "evolve")])
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text)
    return folder


class Opened:
    """A page, and whatever it complains about or asks a server for."""

    def __init__(self, browser, path, width=1440, scheme="light"):
        self.context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.page = self.context.new_page()
        self.complaints = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._asked)
        self.page.goto(path.as_uri())

    def _asked(self, request):
        if not request.url.startswith(("file:", "data:")):
            self.complaints.append(request.url)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["prune", "darts", "unfinished", "train", "evolve", "rank", "compare"])
def test_nothing_is_cut_or_fetched(browser, pages, name, scheme):
    for width in WIDTHS:
        with Opened(browser, pages / f"{name}.html", width, scheme) as opened:
            assert opened.page.evaluate(CUT) == [], width
            assert opened.page.evaluate(OVERLAPS) == [], width
            colour = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert colour == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 27)"}[scheme]
            assert opened.complaints == []


def test_the_slider_walks_through_the_rounds(browser, pages):
    records = made.lines_of(pages / "prune")
    with Opened(browser, pages / "prune.html") as opened:
        shown = opened.page
        assert shown.locator(".round.now h3").inner_text() == "Round 0"
        shown.locator("#round").focus()
        for _ in records[1:]:
            shown.keyboard.press("ArrowRight")
        assert shown.locator(".round.now h3").inner_text() == f"Round {len(records) - 1}"
        last = next(c for c in records[-1]["candidates"] if c["pruned"])
        assert last["operator"] in shown.locator(".round.now li.why").inner_text()
        faint = shown.locator("#rounds svg.usual path[data-edge='0.0']").first.evaluate("part => part.style.opacity")
        alive = sum(records[-1]["alive"][0][0])
        assert float(faint) == pytest.approx(0.25 + 0.75 * alive / 4)
        shown.locator("button[data-step='-1']").click()
        assert shown.locator(".round.now h3").inner_text() == f"Round {len(records) - 2}"
        assert opened.complaints == []


def test_tables_sort_filter_and_turn_pages(browser, pages):
    table = run_files.read_run(pages / "scores.csv").table
    with Opened(browser, pages / "rank.html") as opened:
        shown, rows = opened.page, opened.page.locator("#table tbody tr")
        assert opened.page.locator("#table .said").inner_text() == "1 to 25 of 15,625 rows"
        assert table.strings[0] in rows.first.inner_text()
        shown.locator("#table th button", has_text="effective regions deep").first.click()
        best = table.strings[int(table.columns["effective_regions_deep"].argmax())]
        assert best in rows.first.inner_text()
        shown.locator("#table th button", has_text="condition number no batch norm").first.click()
        best = table.strings[int(table.columns["condition_number_no_batch_norm"].argmin())]
        assert best in rows.first.inner_text()
        shown.locator("#table button[data-page='1']").click()
        assert opened.page.locator("#table .said").inner_text().startswith("26 to 50 of")
        shown.locator("#table .filter").fill(f"{table.strings[77]}")
        assert rows.count() == 1
        assert table.strings[77] in rows.first.inner_text()
        assert opened.complaints == []


def test_a_dot_says_which_architecture_it_is(browser, pages):
    table = run_files.read_run(pages / "scores.csv").table
    with Opened(browser, pages / "rank.html") as opened:
        svg = opened.page.locator("#accuracy svg").first
        svg.scroll_into_view_if_needed()
        ring = svg.locator("path[stroke='var(--accent)']").last.bounding_box()
        opened.page.mouse.move(ring["x"] + ring["width"] / 2, ring["y"] + ring["height"] / 2)
        assert table.strings[0] in opened.page.locator("#accuracy .pointed").first.inner_text()


def test_copying_and_lighting_up(browser, pages):
    with Opened(browser, pages / "prune.html") as opened:
        opened.context.grant_permissions(["clipboard-read", "clipboard-write"])
        button = opened.page.locator("#headline button[data-copy]").first
        button.click()
        assert button.inner_text() == "copied"
        run = run_files.read_run(pages / "prune")
        assert opened.page.evaluate("navigator.clipboard.readText()") == run.result["architecture"]
        opened.page.locator("#table tbody tr").first.hover()
        assert opened.page.locator("path.lit-edge").count() > 0


def test_a_whole_space_opens_in_two_seconds(browser, pages):
    with Opened(browser, pages / "rank.html") as opened:
        opened.page.wait_for_selector("#table tbody tr")
        took = opened.page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
        assert 0 < took < 2000
