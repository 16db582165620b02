"""The page of a bench: the comparison's numbers, and no more said than it supports."""

from __future__ import annotations

import itertools
import json
import re
import shlex
import shutil
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from test_report import HOSTILE, Parsed, svgs
from test_report_browser import WIDE

from snnprune import cli
from snnprune.bench.folder import BenchFolder
from snnprune.bench.grid import Grid, grid
from snnprune.bench.run import compare
from snnprune.report.bench_files import Bench
from snnprune.report.plots.comparison import by_rate, curves, differences, pareto
from snnprune.report.report import report
from snnprune.report.style import SETTINGS
from snnprune.training import run
from support import chromium, tiny_run


def interval(mean, half):
    ends = (None, None) if half is None else (mean - half, mean + half)
    return {"mean": mean, "low": ends[0], "high": ends[1], "count": 3}


def group(name, accuracy, left, verdict="", *intervals):
    """A group of three seeds; intervals of its difference, over seeds and over samples, as (mean, half)."""
    difference, sampled = intervals or (None, None)
    method, _, target = name.rpartition("-")
    entry = {"interval": interval(accuracy, 1.0), "difference": None, "verdict": verdict}
    if difference is not None:
        entry["difference"] = interval(*difference)
    plain = {"difference": None, "verdict": ""}
    return {
        "name": name,
        "method": method or name,
        "target": float(target) if method else None,
        "seeds": [0, 1, 2],
        "measures": {
            "accuracy": entry,
            "pruned": plain | {"interval": interval(100 - left, 0.0)},
            "weights": plain | {"interval": interval(10 * left, 0.0)},
            "macs": plain | {"interval": interval(left, 0.0)},
            "synops_masked": plain | {"interval": interval(left / 100, 0.0)},
        },
        "bootstrap": None if sampled is None else interval(*sampled),
    }


COMPARISON = {
    "dataset": "stripes",
    "model": "conv-snn",
    "epochs": 5,
    "test_samples": 21,
    "level": 0.95,
    "pareto": {"weights": ["dense", "dpap-0.4", "dpap-0.8"], "synops": ["dpap-0.8"]},
    "unfinished": [],
    "groups": [
        group("dense", 95.0, 100.0),
        group("dpap-0.4", 97.0, 60.0, "better", (2.0, 1.0), (2.0, 1.5)),
        group("dpap-0.6", 95.1, 40.0, "no difference shown", (0.1, 0.9), (0.1, 1.0)),
        group("dpap-0.8", 94.9, 20.0, "no difference shown", (-0.1, 0.5), (-0.1, 2.0)),
        group("magnitude-0.8", 80.0, 20.0, "worse", (-15.0, 2.0), (-15.0, 3.0)),
    ],
    "tables": [{"title": "Title", "header": ["", "a*"], "rows": [["dense", "1 ± 2"]], "notes": ["A note."]}],
}


@pytest.fixture
def bench(tmp_path):
    """The folder of a bench of which only the comparison is left."""
    (tmp_path / "bench.yaml").write_text("run: {}\nasked: {seeds: [0, 1, 2]}\n")
    (tmp_path / "comparison.json").write_text(json.dumps(COMPARISON))
    return tmp_path


def changed(bench, **changes):
    (bench / "comparison.json").write_text(json.dumps(COMPARISON | changes))
    return bench


def test_numbers_say_what_the_intervals_support(bench):
    page = Parsed(report(bench).path.read_text())
    numbers = {key: page.texts[key] for key in ("runs", "unpruned", "better", "worse", "smallest")}
    # dpap-0.8 is smaller than dpap-0.6, but over test samples it may lose up to 2.1 points
    assert numbers == {"runs": "15", "unpruned": "95.00%", "better": "1", "worse": "1", "smallest": "40.0%"}


def test_nothing_is_ruled_out_by_one_seed(bench):
    alone = group("dpap-0.4", 97.0, 60.0, "no difference shown", (2.0, None), (2.0, 1.0))
    page = Parsed(report(changed(bench, groups=[COMPARISON["groups"][0], alone])).path.read_text())
    assert page.texts["smallest"] == "-"


def test_pictures_tables_and_words(bench):
    html = report(bench).path.read_text()
    page = Parsed(html)
    assert sorted(p.stem for p in (bench / "figures").glob("*.png")) == [
        "accuracy-by-rate",
        "differences",
        "pareto",
    ]
    words = " ".join(image["alt"] or "" for image in page.images)
    assert "dpap-0.4 97.00% with 40.0% pruned" in words
    assert "dpap-0.4 +2.00 points, +1.00 to +3.00 (better)" in words
    assert "over accuracy and weights: dense, dpap-0.4, dpap-0.8" in words
    assert re.search(r"<caption><span>Title</span></caption>.*1 ± 2.*A note\.", html, re.DOTALL)
    assert all(load.startswith("data:") for load in page.loads)


def test_unfinished_runs_are_named(bench):
    html = report(changed(bench, unfinished=["dpap-0.4-seed2"])).path.read_text()
    assert "Left out, because unfinished: dpap-0.4-seed2." in html


def test_names_never_become_markup(bench):
    groups = [COMPARISON["groups"][0], COMPARISON["groups"][1] | {"name": HOSTILE, "method": HOSTILE}]
    tables = [{"title": HOSTILE, "header": ["", HOSTILE], "rows": [[HOSTILE, HOSTILE]], "notes": [HOSTILE]}]
    html = report(
        changed(bench, groups=groups, tables=tables, dataset=HOSTILE, model=HOSTILE, unfinished=[HOSTILE])
    ).path.read_text()
    page = Parsed(html)
    assert "script" not in page.tags
    assert page.handlers == []
    assert all("<script" not in svg for svg in svgs(html))


# --- pictures

LONG = "mypackage.with_a_long_name.methods:W{}WideMethodNamesWWW"


def bench_of(*groups):
    """A bench of groups, each with a curve of five epochs."""
    names = [g["name"] for g in groups]
    comparison = COMPARISON | {"groups": list(groups), "pareto": {"weights": names, "synops": names}}
    curves = {name: [[0.1, 0.3, 0.5, 0.7, 0.9]] for name in names}
    return Bench(Path("bench"), comparison, curves, {}, None, {})


def of_method(method, target, accuracy, half=1.0):
    made = group(f"{method}-{target}", accuracy, 100 * (1 - target), "", (accuracy - 95, half), (0.0, half))
    made["method"] = method
    made["measures"]["accuracy"]["interval"] = interval(accuracy, half)
    return made


DENSE = group("dense", 95.0, 100.0)
BENCHES = {
    "one target": bench_of(DENSE, of_method("dpap", 0.6, 94.5), of_method("magnitude", 0.6, 90.0)),
    "one seed": bench_of(DENSE, of_method("dpap", 0.6, 94.5, None)),
    "two seeds": bench_of(DENSE, of_method("dpap", 0.6, 50.0, 127.0)),
    "perfect": bench_of(DENSE, of_method("dpap", 0.6, 100.0, 0.5)),
    "targets side by side": bench_of(DENSE, *(of_method("dpap", t, 94.0) for t in (0.59, 0.6, 0.61))),
    "many methods": bench_of(
        DENSE, *(of_method(f"method-{i}", t, 90.0 + i / 3) for i in range(13) for t in (0.6, 0.9))
    ),
    "long names": bench_of(DENSE, *(of_method(LONG.format(i), 0.6, 93.0) for i in range(3))),
    "no unpruned network": bench_of(of_method("dpap", 0.6, 94.5)),
}


@pytest.mark.parametrize("picture", [by_rate, differences, pareto, curves], ids=lambda maker: maker.__name__)
@pytest.mark.parametrize("name", BENCHES)
def test_a_picture_of_any_bench_can_be_read(name, picture):
    made = picture(BENCHES[name])
    with rc_context(SETTINGS):
        figure = made.draw()
        FigureCanvasAgg(figure).draw()
        inside = figure.bbox.expanded(1.001, 1.001)
        for legend in figure.legends:
            assert inside.contains(*legend.get_window_extent().min), "the legend is cut off"
            assert inside.contains(*legend.get_window_extent().max), "the legend is cut off"
        for axes in figure.axes:
            for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, sorted(axes.get_ylim()))):
                shown = [label.get_text() for label in axis.get_ticklabels() if label.get_text()]
                assert axis.get_offset_text().get_text() == "", "ticks are to be added to another number"
                assert len(shown) == len(set(shown)) >= 1
                assert all(low <= value <= high for line in axes.lines for value in of_axis(line, axes, axis))


def of_axis(line, axes, axis):
    """Where the points of a line are on an axis; nothing for a line across the whole picture."""
    values = line.get_xdata() if axis is axes.xaxis else line.get_ydata()
    return () if line.get_transform() != axes.transData else values


def test_the_axis_of_one_target_shows_its_surroundings():
    with rc_context(SETTINGS):
        axes = by_rate(BENCHES["one target"]).draw().axes[0]
    low, high = axes.get_xlim()
    assert high - low >= 10
    assert 60 in axes.get_xticks()


def test_names_are_clipped_before_their_target():
    with rc_context(SETTINGS):
        axes = differences(BENCHES["long names"]).draw().axes[0]
    assert {label.get_text() for label in axes.get_yticklabels()} == {
        f"W{i}WideMethodN…-0.6" for i in range(3)
    }


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (lambda b: (b / "comparison.json").unlink(), "is a bench without comparison.json"),
        (lambda b: (b / "comparison.json").write_text("{"), r"comparison.json is damaged \(.*line 1.*\)"),
        (lambda b: changed(b, tables=None), "has no usable 'tables'"),
        (lambda b: changed(b, groups=[]), "a group lacks its name, seeds or measures"),
        (lambda b: changed(b, groups=[{"name": "dense"}]), "a group lacks its name, seeds or measures"),
        (
            lambda b: (b / "comparison.json").write_text("[" * 10**6),
            r"comparison.json is damaged \(.*line 1.*\)",
        ),
        (lambda b: (b / "bench.yaml").write_text("["), "bench.yaml is damaged"),
        (lambda b: (b / "bench.yaml").write_text("a: &a [1]\nb: *a"), "bench.yaml is damaged .*aliases"),
    ],
)
def test_damaged_benches_are_one_sentence(bench, harm, sentence, capsys):
    harm(bench)
    assert cli.main(["report", str(bench)]) == cli.WRONG_INPUT
    phase, said = capsys.readouterr().err.splitlines()
    assert phase == f"drawing the page of {bench}"
    assert re.search(sentence, said), said
    assert not (bench / "report.html").exists()


def test_page_of_a_real_comparison(tmp_path):
    config = tiny_run.config(epochs=3, twin=True)
    # The twin has neither of these two settings, and goes into the comparison all the same.
    config = replace(config, method=replace(config.method, structured=0.3, compact_every=2))
    run.train(config, tmp_path / "run", page=False)
    bench = tmp_path / "bench"
    shutil.copytree(tmp_path / "run", bench / "dpap-0.5-seed0", ignore=shutil.ignore_patterns("dense"))
    shutil.copytree(tmp_path / "run" / "dense", bench / "dense-seed0")
    compare(bench)
    page = Parsed((bench / "report.html").read_text())
    summary = json.loads((bench / "dense-seed0" / "summary.json").read_text())
    assert page.texts["runs"] == "2"
    assert page.texts["unpruned"] == f"{summary['accuracy']:.2%}"
    assert {p.stem for p in (bench / "figures").glob("*.svg")} >= {"pareto", "curves", "accuracy-by-rate"}
    assert "snnprune bench --config" in (bench / "report.html").read_text()


def test_the_command_of_a_bench_repeats_it(tmp_path):
    config = tiny_run.config(epochs=3)
    config = replace(config, method=replace(config.method, options={"gamma": 0.99}))
    asked = Grid(("dense", "dpap"), (0.5,), (3,))
    with BenchFolder(tmp_path / "bench") as folder:
        folder.claim(config, asked)
        for cell in asked.cells():
            run.train(cell.config(config), folder.cell(cell).path, page=False)
    compare(tmp_path / "bench")
    html = unescape((tmp_path / "bench" / "report.html").read_text())
    words = shlex.split(re.search(r"snnprune bench --config [^<]*", html).group())
    given = dict(zip(words[2::2], words[3::2], strict=True))
    assert grid(config, *(given[f"--{name}"] for name in ("methods", "targets", "seeds"))) == asked
    assert "gamma: 0.99" in Path(given["--config"]).read_text()


@pytest.mark.skipif(chromium.program() is None, reason="needs Debian's chromium (apt install chromium)")
def test_page_fits_a_phone_and_a_desk_by_day_and_by_night(bench):
    wide = {"title": "Wide", "header": ["column"] * 30, "rows": [["1 ± 2"] * 30], "notes": []}
    report(changed(bench, tables=[*COMPARISON["tables"], wide]))
    with chromium.Browser() as browser:
        for width, dark in itertools.product((chromium.PHONE, chromium.DESK), (False, True)):
            browser.open(bench / "report.html", width, dark=dark)
            assert browser.complaints == []
            assert browser.ask("document.documentElement.scrollWidth") <= width
            assert browser.ask(WIDE) == []
            assert browser.ask("[...document.images].every(i => i.naturalWidth > 0)")
            night = "[...document.images].every(i => i.currentSrc === i.previousElementSibling.srcset)"
            assert browser.ask(night) is dark


@pytest.mark.skipif(chromium.program() is None, reason="needs Debian's chromium (apt install chromium)")
def test_numbers_that_are_seen_are_those_of_the_comparison(bench):
    report(bench)
    with chromium.Browser() as browser:
        browser.open(bench / "report.html")
        seen = browser.ask(
            "Object.fromEntries([...document.querySelectorAll('.value')].map(e => [e.id, e.innerText]))"
        )
    assert seen == {"runs": "15", "unpruned": "95.00%", "better": "1", "worse": "1", "smallest": "40.0%"}
