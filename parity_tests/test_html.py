"""The page: what it says, that it stands alone, and that it works in a browser for everybody."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gradparity.reference import catalogue
from gradparity.reference.verdict import Finding, Verdict, Worst
from gradparity.reports import html
from gradparity.reports.agreement import agreements
from gradparity.reports.cell import Cell
from gradparity.reports.cli import cli
from gradparity.reports.curves import trainings
from gradparity.reports.html_marks import slug
from gradparity.reports.results import Results, RunInfo
from gradparity.reports.spread import HIGHEST, LOWEST, PER_DECADE, spreads
from gradparity.reports.store import save

NAN, INF = float("nan"), float("inf")
INFO = RunInfo("2026-01-02T03:04:05+00:00", 1.5, "0.1.0", "3.12.0", "2.0.0", "Linux", "x86_64", "a cpu", 2)
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\x1b[31m\x9b2J\u202e' \" {{ 7 * 7 }}"
SMALL = Worst(2, (0, 1), 0.1 + 0.2, 0.3, 5e-17, 1e-16, 1.0)
LARGE = Worst(3, (1, 0), 0.75, -0.25, 1.0, 1e-7, 2e7)


def finding(quantity: str, verdict: Verdict = Verdict.WITHIN, worst: Worst | None = SMALL, **more: Any) -> Finding:
    made = Finding("probed", quantity, verdict, "W1 X + b1", steps=3, elements=8, worst=worst, basis="row", digits=6.9)
    return replace(made, **more)


FORWARD = tuple(finding(name) for name in ("Z1", "A1", "loss", "delta1"))
PLAIN = tuple(finding(name, program="plain", digest=name * 4) for name in ("loss", "dW1", "db1", "W1_next"))
WRONG = finding("dW1", Verdict.WRONG, LARGE, first_wrong_step=3, wrong=2, formula="delta1 Xᵀ")


def cell(engine: str, verdict: Verdict = Verdict.WITHIN, **more: Any) -> Cell:
    made = Cell(
        "xor-tape",
        "float32",
        engine,
        verdict,
        (*FORWARD, *PLAIN),
        environment={"torch": "2.13.0", "device": "cpu", "allow_tf32": "False"},
        steps=3,
        seconds=0.5,
        weights_sha256="ab" * 32,
        data_sha256="cd" * 32,
        losses=((1, 0.7), (2, 0.5), (3, 0.25)),
        samples={"dW1": (0.5, -0.25), "loss": (0.7,)},
    )
    return replace(made, **more)


def results(*cells: Cell, **more: Any) -> Results:
    scenario = catalogue.load("xor-tape")
    saved = {"xor-tape": {"toml": scenario.to_toml(), "folder": str(scenario.folder)}}
    return Results(list(cells), INFO, scenarios=saved, **more)


EVERY = (
    cell("numpy"),
    cell("torch", Verdict.WRONG, findings=(*FORWARD, WRONG, *PLAIN), losses=((1, 0.7), (2, 0.6), (3, NAN))),
    cell("jax", dtype="float64", samples={"dW1": (0.5, -0.25 + 2**-50), "loss": (0.7,)}),
    cell("numpy", dtype="float64"),
    cell("jax", Verdict.SUSPECT, findings=(finding("dW1", Verdict.SUSPECT, suspect=1, sigmas=11.0),)),
    cell(
        "keras:jax",
        Verdict.KNOWN,
        findings=(finding("loss", Verdict.KNOWN, LARGE),),
        reasons={"probed loss": "k: clips"},
    ),
    cell(
        "keras:torch",
        Verdict.DECLARED,
        findings=(finding("dW1", Verdict.DECLARED),),
        reasons={"probed dW1": f"d: {HOSTILE}"},
    ),
    cell("torch:func", Verdict.CRASHED, findings=(), message="killed by signal 11", log=f"one\n{HOSTILE}\nthree"),
    cell("jax:jit", Verdict.TIMED_OUT, findings=(), message="no answer in 300 s"),
    cell("torch:compile", Verdict.UNSUPPORTED, findings=(), message=HOSTILE),
    cell(f"{HOSTILE}.py:step", Verdict.NOT_GIVEN, findings=(finding("Z1", Verdict.NOT_GIVEN, None, basis=""),)),
    cell(
        "jax:vmap",
        Verdict.WRONG,
        faults=(HOSTILE,),
        findings=(finding("Z1", worst=replace(LARGE, value=NAN, error=INF)),),
    ),
    cell("numpy", scenario=f"lost {HOSTILE}", losses=()),
)


@pytest.fixture(scope="module")
def every() -> str:
    return html.render(results(*EVERY, skipped={"mxnet": "needs mxnet"}, damage=("line 9 is cut off",)))


def test_the_verdict_comes_first_and_everything_is_there(every: str) -> None:
    title, headline, wrong = every.index("<title>Wrong: "), every.index("<h1"), every.index(">What is wrong<")
    assert title < headline < every.index("line 9 is cut off") < every.index("does not certify") < wrong
    for text in (
        "killed by signal 11",
        "three",
        "k</h3>",
        "clips",
        "needs mxnet",
        "allow_tf32=False",
        "abababab",
        "a cpu",
    ):
        assert text in every, text
    assert "0.75, exact -0.25" in every
    assert "ReLU(Z1)" in html.render(results(cell("numpy", findings=(finding("A1", formula="ReLU(Z1)"),))))


class Tags(HTMLParser):
    """Every element of a page, with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def all(self, attribute: str) -> list[str]:
        return [str(attrs[attribute]) for _, attrs in self.found if attribute in attrs]


def test_what_comes_from_outside_is_text(every: str) -> None:
    tags = [tag for tag, _ in Tags(every).found]
    assert tags.count("script") == 1
    assert "img" not in tags
    assert "{{ 7 * 7 }}" in every
    assert not {c for c in every if not c.isprintable()} - {"\n"}


def test_the_page_stands_alone(every: str) -> None:
    tags = Tags(every)
    assert tags.all("src") == []
    assert not re.search(r"@import|url\(", every)
    links, ids = tags.all("href"), tags.all("id")
    assert all(link.startswith("#") or link == "data:," for link in links)
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in links if link.startswith("#")} <= set(ids)


def test_a_run_without_fault_says_so_and_has_no_list_of_faults() -> None:
    page = html.render(results(cell("numpy"), cell("torch")))
    assert re.search(r'<section class="verdict within".*\n<h1[^>]*>Right: ', page)
    assert "What is wrong" not in page


def test_a_run_without_cells_is_a_page_too() -> None:
    assert "Nothing was judged" in html.render(results())


def test_two_names_that_look_alike_have_anchors_of_their_own() -> None:
    page = html.render(results(cell("a.py:f"), cell("a-py:f"), cell("a.py:f", scenario="xor_tape")))
    ids = Tags(page).all("id")
    assert len(ids) == len(set(ids))
    assert slug("  ") == "unnamed"


def test_ten_thousand_rows_are_a_small_page_made_quickly(tmp_path: Path) -> None:
    started = time.perf_counter()
    page = rendered_many()
    assert len(page.encode()) < 5e6
    assert time.perf_counter() - started < 20


def rendered_many() -> str:
    """Return the page of more than 10,000 quantities."""
    layers = range(1, 13)
    rows = tuple(finding(f"{name}{l}") for l in layers for name in ("Z", "A", "delta", "dW"))
    names = ["numpy", "torch", "jax", "jax:jit", "jax:vmap", "torch:func", "torch:compile"]
    return html.render(
        results(*(cell(name, scenario=f"s{i}", findings=rows) for i in range(31) for name in names)),
    )


def test_engines_with_the_same_bits_agree_in_full() -> None:
    other = replace(cell("torch"), samples={"dW1": (0.5 + 2**-24, -0.25), "loss": (0.7,)})
    changed = tuple(replace(f, digest="other") if f.quantity == "dW1" else f for f in other.findings)
    found = agreements(
        results(cell("numpy"), replace(other, findings=changed), cell("jax", samples={"dW1": (NAN, 0.0)}))
    )
    assert (found["numpy", "torch"].same, found["numpy", "torch"].compared) == (3, 4)
    assert (found["numpy", "torch"].ulp, found["numpy", "torch"].far) == (0.5, 0)
    assert (found["jax", "numpy"].share, found["jax", "numpy"].ulp) == (1.0, INF)
    assert (found["jax", "numpy"].far, found["jax", "numpy"].gradients) == (1, 1)


def test_engines_with_the_same_losses_share_a_curve() -> None:
    away = cell("jax", losses=((1, 0.7), (2, 0.6), (3, 0.25)))
    (training,) = trainings(results(cell("numpy"), cell("torch"), away))
    assert [curve.engines for curve in training.curves] == [("numpy", "torch"), ("jax",)]
    assert [round(drift, 9) for _, drift in training.curves[1].drift] == [0.0, 0.2, 0.2]


@pytest.mark.parametrize(
    ("ratio", "place"), [(1.0, -1), (1.1, 0), (1e-30, LOWEST * PER_DECADE), (INF, HIGHEST * PER_DECADE - 1)]
)
def test_the_bound_itself_is_inside(ratio: float, place: int) -> None:
    worst = replace(SMALL, error=ratio, bound=1.0)
    (found,) = spreads(results(cell("numpy", findings=(finding("Z1", worst=worst),))))
    assert found.bins.index(1) == place - LOWEST * PER_DECADE
    assert found.outside == (ratio > 1)


def test_the_command_line_writes_the_page(tmp_path: Path) -> None:
    save(results(*EVERY), tmp_path)
    target = tmp_path / "again.html"
    outcome = CliRunner().invoke(cli, ["report", str(tmp_path), "--format", "html", "-o", str(target)])
    assert outcome.exit_code == 0, outcome.output
    assert target.read_text("utf-8") == (tmp_path / "report.html").read_text("utf-8")


# In a browser.

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
LOOKS = [(width, scheme) for width in (360, 800, 1400) for scheme in ("light", "dark")]


def missing(reason: str) -> None:
    if os.environ.get("GRADPARITY_REQUIRE_BROWSER") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    try:
        from axe_playwright_python.sync_playwright import Axe  # noqa: F401
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing('needs Playwright and axe: pip install "gradparity[browser]"')
        return
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        missing(f"no browser found: install Chromium (looked for {', '.join(BROWSERS)})")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def address(every: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(every, encoding="utf-8")
    return file.as_uri()


@pytest.fixture
def opened(browser: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Open pages, and fail at the end for whatever the console said or the network was asked for."""
    contexts, complaints = [], []

    def open_page(address: str, width: int = 1400, scheme: str = "light", scripts: bool = True) -> Any:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=scripts
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request",
            lambda asked: complaints.append(asked.url) if not asked.url.startswith(("file:", "data:")) else None,
        )
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


# What a browser has not drawn yet has no place yet, and what is closed has none either.
DRAWN = """() => {
  document.querySelectorAll('.block').forEach((block) => { block.style.contentVisibility = 'visible'; });
  document.querySelectorAll('details').forEach((details) => { details.open = true; });
}"""
OVERLAPS = """() => {
  const boxes = [], range = document.createRange();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode, parent = node.parentElement;
    if (!node.data.trim() || parent.closest('.vh, .skip, script, option, svg') || !parent.checkVisibility()) continue;
    range.selectNodeContents(node);
    for (const r of range.getClientRects()) if (r.width > 1 && r.height > 1) boxes.push([r, node]);
  }
  boxes.sort((a, b) => a[0].top - b[0].top);
  const found = [];
  boxes.forEach(([a, node], i) => {
    for (let k = i + 1; k < boxes.length && boxes[k][0].top < a.bottom - 4; k++) {
      const b = boxes[k][0];
      if (boxes[k][1] !== node && Math.min(a.right, b.right) - Math.max(a.left, b.left) > 2)
        found.push(`${node.data.trim().slice(0, 30)} / ${boxes[k][1].data.trim().slice(0, 30)}`);
    }
  });
  return found;
}"""


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_nothing_overlaps_or_runs_out_of_the_window(
    opened: Any, address: str, width: int, scheme: str, scripts: bool
) -> None:
    page = opened(address, width, scheme, scripts)
    page.evaluate(DRAWN)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(OVERLAPS) == []
    assert page.locator(".cells tbody tr").count() == len(EVERY)
    assert page.locator(".cells tbody tr").first.is_visible()
    assert page.locator("#filters").is_visible() == scripts


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (1400, "dark")])
def test_everybody_can_use_it(opened: Any, address: str, width: int, scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = opened(address, width, scheme)
    page.evaluate(DRAWN)
    violations = Axe().run(page).response["violations"]
    assert [
        (v["id"], [(node["html"][:120], node["failureSummary"]) for node in v["nodes"][:3]]) for v in violations
    ] == []


def test_the_filter_leaves_what_was_asked_for_and_the_address_keeps_it(opened: Any, address: str) -> None:
    page = opened(address)
    page.select_option("select[name=e]", label="torch")
    page.select_option("select[name=v]", label="wrong")
    rows = page.locator(".cells tbody tr:visible")
    assert [row.split("\t")[2] for row in rows.all_inner_texts()] == ["torch"]
    assert page.locator("#count").inner_text() == f"1 of {len(EVERY)} cells"
    again = opened(page.url)
    assert again.locator(".cells tbody tr:visible").count() == 1
    again.click("button[type=reset]")
    again.wait_for_function(f"document.querySelectorAll('.cells tbody tr').length === {len(EVERY)}")
    assert again.locator(".cells tbody tr:visible").count() == len(EVERY)
    assert "engine=" not in again.url


def test_a_deep_link_leads_to_its_cell(opened: Any, address: str) -> None:
    page = opened(f"{address}#xor-tape.float32.torch&dtype=float32")
    top = page.evaluate("document.getElementById('xor-tape.float32.torch').getBoundingClientRect().top")
    assert 0 <= top < 400
    assert page.locator("select[name=d]").input_value() != ""


def test_the_keyboard_reaches_everything_that_matters(opened: Any, address: str) -> None:
    page = opened(address)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "page--main"
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.name") == "e":
            break
    page.keyboard.type("torch")
    page.keyboard.press("Enter")
    assert page.locator("#count").inner_text() != f"{len(EVERY)} of {len(EVERY)} cells"


def test_the_colours_can_be_switched(opened: Any, address: str) -> None:
    page = opened(address)
    colour = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(colour)
    page.click("#theme")
    assert page.evaluate(colour) != light
    page.reload()
    assert page.evaluate(colour) != light


def test_it_prints_without_what_only_a_screen_needs(opened: Any, address: str) -> None:
    page = opened(address, scheme="dark")
    page.emulate_media(media="print")
    assert not page.locator("#filters").is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.pdf().startswith(b"%PDF")


def test_ten_thousand_rows_open_within_two_seconds(opened: Any, tmp_path: Path) -> None:
    file = tmp_path / "many.html"
    file.write_text(rendered_many(), encoding="utf-8")
    taken = []
    # One of three: the machine may be busy with something else.
    for _ in range(3):
        started = time.perf_counter()
        page = opened(file.as_uri())
        page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        taken.append(time.perf_counter() - started)
        if taken[-1] < 2.0:
            break
    assert page.locator(".numbers tbody tr").count() > 10_000
    assert taken[-1] < 2.0
