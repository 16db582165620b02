"""The page of a run in a real browser: its numbers, its pictures, and that it fits a phone."""

from __future__ import annotations

import json

import pytest

from snnprune.training import run
from support import chromium, tiny_run

pytestmark = pytest.mark.skipif(
    chromium.program() is None, reason="needs Debian's chromium on the PATH (apt install chromium)"
)

WIDE = """
[...document.querySelectorAll('body *')]
  .filter(e => !e.closest('.table, pre') && e.getBoundingClientRect().right > innerWidth + 0.5)
  .map(e => e.tagName + ' ' + e.className)
"""
"""What reaches beyond the window; tables and verbatim text scroll within themselves."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("browser") / "run"
    run.train(tiny_run.config(epochs=4, twin=True), out)
    return out


@pytest.fixture(scope="module")
def browser():
    with chromium.Browser() as opened:
        yield opened


@pytest.mark.parametrize("width", [320, chromium.PHONE, 768, chromium.DESK])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_page_fits_and_has_nothing_to_complain_of(folder, browser, width, dark):
    browser.open(folder / "report.html", width, dark=dark)
    assert browser.complaints == []
    assert browser.ask("document.documentElement.scrollWidth") <= width
    assert browser.ask(WIDE) == []
    assert browser.ask("[...document.images].every(i => i.naturalWidth > 0)")
    night = browser.ask("[...document.images].every(i => i.currentSrc === i.previousElementSibling.srcset)")
    assert night is dark
    paper = browser.ask("getComputedStyle(document.body).backgroundColor")
    assert (sum(int(c) for c in paper[4:-1].split(",")) < 3 * 128) is dark


def test_numbers_that_are_seen_are_those_of_the_summary(folder, browser):
    browser.open(folder / "report.html")
    summary = json.loads((folder / "summary.json").read_text())
    twin = json.loads((folder / "dense" / "summary.json").read_text())
    seen = browser.ask(
        "Object.fromEntries([...document.querySelectorAll('.value')].map(e => [e.id, e.innerText]))"
    )
    assert float(seen["accuracy"].rstrip("%")) == pytest.approx(100 * summary["accuracy"], abs=0.005)
    points = 100 * (summary["accuracy"] - twin["accuracy"])
    assert float(seen["difference"]) == pytest.approx(points, abs=0.005)
    left = 100 * summary["weights_left"] / summary["weights_dense"]
    assert float(seen["weights"].rstrip("%")) == pytest.approx(left, abs=0.05)
    operations = 100 * summary["synops"]["masked"] / summary["synops"]["dense"]
    assert float(seen["operations"].rstrip("%")) == pytest.approx(operations, abs=0.05)
    assert len(seen) == 5


def test_paper_is_light_whatever_the_screen_is(folder, browser):
    browser.open(folder / "report.html", dark=True, media="print")
    assert browser.ask("getComputedStyle(document.body).color") == "rgb(27, 30, 34)"
    assert browser.ask("[...document.images].every(i => i.currentSrc === i.src)")
    boxes = "[...document.querySelectorAll('.numbers li, figure, .table')]"
    assert browser.ask(f"{boxes}.every(e => getComputedStyle(e).columnCount === 'auto')")
