"""The page of a run: self-contained, true to its files, and deaf to what names try."""

from __future__ import annotations

import base64
import csv
import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import yaml
from PIL import Image

from snnprune import cli
from snnprune.common.errors import UserError
from snnprune.report import page as pages
from snnprune.report.picture import Picture, draw_all
from snnprune.report.plots import learning
from snnprune.report.plots.confusion import counts
from snnprune.report.plots.fan_in import fates
from snnprune.report.plots.maps import ranked
from snnprune.report.plots.operations import by_layer
from snnprune.report.plots.recording import OFF, ON, picture_of
from snnprune.report.plots.survival import last_epochs
from snnprune.report.report import report
from snnprune.report.run_page import SECTIONS, sampled_difference
from snnprune.report.style import NIGHT, short
from snnprune.runs.reading import read_run
from snnprune.runs.summary import Counts, LayerSynops, Synops
from snnprune.runs.tensors import Dynamics
from snnprune.training import run
from support import records, tiny_run

LOADS = {"src", "href", "srcset", "data", "action", "poster", "background"}
"""Attributes by which a page fetches something."""

COLOUR = re.compile(r"#[0-9a-f]{6}")


class Parsed(HTMLParser):
    """Tags, attributes and texts of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.handlers: list[str] = []
        self.texts: dict[str, str] = {}
        self._id = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._id = dict(attrs).get("id") or ""
        self.loads += [value or "" for name, value in attrs if name in LOADS]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        if tag == "img":
            self.images.append(dict(attrs))

    def handle_data(self, text: str) -> None:
        if self._id:
            self.texts.setdefault(self._id, text)
            self._id = ""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of a pruned run and its twin; training has written the page."""
    out = tmp_path_factory.mktemp("report") / "run"
    run.train(tiny_run.config(epochs=6, twin=True), out)
    return out


@pytest.fixture
def copied(folder, tmp_path):
    """A copy of the run to be spoiled, without its page."""
    out = tmp_path / "run"
    shutil.copytree(folder, out)
    (out / "report.html").unlink()
    return out


@pytest.fixture
def without_pictures(monkeypatch):
    """Let pages have no pictures, which take two seconds, in a test of something else."""
    for title in SECTIONS:
        monkeypatch.setitem(SECTIONS, title, ("", ()))


@pytest.fixture(scope="module")
def parsed(folder):
    return Parsed((folder / "report.html").read_text())


def svgs(html: str) -> list[str]:
    return [
        base64.b64decode(found).decode()
        for found in re.findall(r"data:image/svg\+xml;base64,([\w+/=]+)", html)
    ]


# --- what is on the page


def test_page_fetches_nothing(folder, parsed):
    html = (folder / "report.html").read_text()
    assert len(parsed.loads) == 1 + 2 * len(parsed.images)  # an empty icon; each picture by day and by night
    assert all(load.startswith("data:") for load in parsed.loads)
    assert not re.search(r"url\(|@import|https?://", html)
    assert not {"script", "iframe", "object", "embed"} & set(parsed.tags)
    for svg in svgs(html):
        assert not re.search(r"<script|@import|https?://(?!www\.w3\.org/)", svg)


def test_page_is_small_and_every_picture_is_told_in_words(folder, parsed):
    assert (folder / "report.html").stat().st_size < 3_000_000
    assert len(parsed.images) == 12
    for image in parsed.images:
        assert re.search(r"\d", image["alt"] or ""), image["alt"]


def test_numbers_are_those_of_the_summary(folder, parsed):
    summary = json.loads((folder / "summary.json").read_text())
    twin = json.loads((folder / "dense" / "summary.json").read_text())
    synops = summary["synops"]
    units = np.array(list(summary["neurons_left"].values())).sum(0)
    assert parsed.texts["accuracy"] == f"{summary['accuracy']:.2%}"
    assert parsed.texts["difference"] == f"{100 * (summary['accuracy'] - twin['accuracy']):+.2f}"
    assert parsed.texts["weights"] == f"{summary['weights_left'] / summary['weights_dense']:.1%}"
    assert parsed.texts["units"] == f"{units[0] / units[1]:.1%}"
    whole = {c: synops[c] + synops["macs"][c] for c in ("masked", "dense")}
    assert parsed.texts["operations"] == f"{whole['masked'] / whole['dense']:.1%}"
    html = (folder / "report.html").read_text()
    row = html[html.index("all, by events") :].split("</tr>")[0]
    assert [f"{synops['by_events'][c]:,.0f}" in row for c in ("dense", "masked", "compact")] == [True] * 3
    assert "by events, they count each event" in html


def test_page_says_how_to_repeat_the_run(folder):
    html = (folder / "report.html").read_text()
    summary = json.loads((folder / "summary.json").read_text())
    assert f"snnprune train --config {folder / 'config.yaml'}" in html
    for line in (folder / "config.yaml").read_text().splitlines():
        assert line.replace("'", "&#39;") in html
    for version in summary["versions"].values():
        assert version in html
    assert str(summary["git_commit"] or "an installed package") in html


def test_words_tell_the_same_numbers_as_the_files(folder, parsed):
    words = " ".join(image["alt"] or "" for image in parsed.images)
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    with (folder / "predictions.csv").open() as file:
        hits = [row["label"] == row["answer"] for row in csv.DictReader(file)]
    assert f"{float(rows[0]['test_accuracy']):.2%} after the first epoch" in words
    assert f"{sum(hits)} of {len(hits)} test samples" in words
    for name, (left, size) in json.loads((folder / "summary.json").read_text())["neurons_left"].items():
        assert f"{name} {left} of {size} units" in words


def test_pictures_are_files_of_one_column(folder):
    pictures = sorted((folder / "figures").glob("*.svg"))
    assert {p.stem for p in pictures} == {p.stem for p in (folder / "figures").glob("*.png")}
    assert len(pictures) == 12
    for path in pictures:
        assert ET.parse(path).getroot().get("width") == "252pt"  # 3.5 inches
        assert Image.open(path.with_suffix(".png")).width == 1050  # at 300 dots an inch


def test_night_leaves_no_colour_of_the_day(folder):
    shown = svgs((folder / "report.html").read_text())
    for day, night in zip(shown[1::2], shown[::2], strict=True):  # the dark source stands first
        assert COLOUR.sub("#", day) == COLOUR.sub("#", night)  # the same picture
        assert [NIGHT.get(colour, colour) for colour in COLOUR.findall(day)] == COLOUR.findall(night)
        assert not set(NIGHT) & set(COLOUR.findall(night))
        assert night != day


def test_same_run_same_page(folder, copied):
    # But for the pictures: the solver that lays them out may differ in the last bit of a coordinate.
    first, again = (
        re.sub(r"base64,[\w+/=]+|" + re.escape(str(path)), "", (path / "report.html").read_text())
        for path in (folder, report(copied).path.parent)
    )
    assert first == again


# --- what a page can do without


def test_page_of_a_run_without_its_newer_files(copied):
    for name in ("dynamics.safetensors", "example.safetensors", "predictions.csv"):
        (copied / name).unlink()
    shutil.rmtree(copied / "dense")
    html = report(copied).path.read_text()
    missing = re.findall(r'class="missing">([^:]+): not shown, because the run has no ([\w.]+)\.', html)
    assert dict(missing) == {
        "Weights left over time": "dynamics.safetensors",
        "Survival functions": "dynamics.safetensors",
        "Fan-in of pruned and surviving neurons": "dynamics.safetensors",
        "Importance of neurons, before and after": "dynamics.safetensors",
        "Importance of synapses, before and after": "dynamics.safetensors",
        "Firing rate per layer": "dynamics.safetensors",
        "Confusion matrix": "predictions.csv",
        "A recording, its spikes and the answer": "example.safetensors",
    }
    assert "unpruned twin" not in html


def test_page_of_a_dense_run_speaks_of_no_pruning(folder, tmp_path):
    shutil.copytree(folder / "dense", tmp_path / "run")
    html = report(tmp_path / "run").path.read_text()
    names = [path.stem for path in (tmp_path / "run" / "figures").glob("*.svg")]
    assert sorted(names) == ["accuracy", "confusion", "firing", "network", "recording", "synops"]
    assert "Nothing was pruned." in html
    assert "not shown" not in html


@pytest.mark.parametrize(("method", "model"), [("magnitude", "conv-snn"), ("deep-r", "conv-ann")])
def test_pages_of_other_methods_and_networks(method, model, tmp_path, monkeypatch):
    monkeypatch.setitem(tiny_run.METHODS, method, {"target": 0.5})
    run.train(tiny_run.config(method, model, epochs=3), tmp_path / "run")
    names = {path.stem for path in (tmp_path / "run" / "figures").glob("*.svg")}
    assert {"accuracy", "weights-left", "importance-synapses", "recording"} <= names
    assert "survival" not in names


# --- what names try

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7 * 7 }}$\\frac{1}{</style>"


def test_names_never_become_markup(copied):
    for path in (copied, copied / "dense"):
        summary = json.loads((path / "summary.json").read_text())
        summary |= {
            "dataset": HOSTILE,
            "model": HOSTILE,
            "method": HOSTILE,
            "git_commit": HOSTILE,
            "device": HOSTILE,
        }
        for key in ("layers", "neurons_left"):
            summary[key][HOSTILE] = summary[key].pop("fc1")
        summary["synops"]["layers"][HOSTILE] = summary["synops"]["layers"].pop("fc1")
        summary["versions"][HOSTILE] = HOSTILE
        (path / "summary.json").write_text(json.dumps(summary))
        config = yaml.safe_load((path / "config.yaml").read_text())
        for section in ("data", "model", "method"):
            config[section]["name"] = HOSTILE
        (path / "config.yaml").write_text(yaml.safe_dump(config))
    page = Parsed(report(copied).path.read_text())
    assert "script" not in page.tags
    assert page.handlers == []
    assert all(load.startswith("data:") for load in page.loads)
    assert page.tags.count("style") == 1
    html = (copied / "report.html").read_text()
    assert "&lt;script&gt;alert(1)" in html
    assert "{{ 7 * 7 }}" in html
    assert all("<script" not in svg for svg in svgs(html))


# --- bad input


def edit_summary(path, **changes):
    summary = json.loads((path / "summary.json").read_text())
    (path / "summary.json").write_text(json.dumps(summary | changes))


def without_column(path):
    text = (path / "metrics.csv").read_text()
    (path / "metrics.csv").write_text(text.replace("pruned_synapses", "pruned"))


def spoil(name, text):
    return lambda path: (path / name).write_text(text)


def remove(name):
    return lambda path: (path / name).unlink()


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (remove("config.yaml"), "is not a run of snnprune: expected a folder with a config.yaml"),
        (spoil("config.yaml", "data: ["), "cannot read .*config.yaml"),
        (spoil("config.yaml", "a: &a [1]\nb: *a"), "cannot read .*config.yaml .*aliases"),
        (
            spoil("config.yaml", "a: 1\n" * 2**16),
            "cannot read .*config.yaml .*it has more than 131,072 bytes",
        ),
        (spoil("config.yaml", "word"), "cannot read .*config.yaml"),
        (remove("metrics.csv"), "has no metrics.csv: delete .*summary.json, and `snnprune train --resume"),
        (
            remove("summary.json"),
            r"is not finished, and has no summary.json \(6 of 6 epochs\): continue it with",
        ),
        (without_column, r"metrics.csv is damaged \(it has no column 'pruned_synapses'\)"),
        (
            lambda p: (p / "metrics.csv").write_text((p / "metrics.csv").read_text()[:-9]),
            "line 7 is not a row",
        ),
        (
            lambda p: (p / "metrics.csv").write_text(
                "".join((p / "metrics.csv").read_text().splitlines(True)[:-1])
            ),
            "metrics.csv has 5 rows, and by .*summary.json the run had 6 epochs: restore them, or train",
        ),
        (spoil("metrics.csv", ""), r"metrics.csv is damaged \(it has no column 'epoch'\)"),
        (spoil("summary.json", '{"seed": 0,'), r"summary.json is damaged \(.*line 1.*\): delete it"),
        (spoil("summary.json", "[" * 10**6), r"summary.json is damaged \(.*line 1.*\): delete it"),
        (
            lambda path: edit_summary(path, accuracy="high"),
            "'accuracy' must be a finite number, and is 'high'",
        ),
        (lambda path: edit_summary(path, accuracy=1.5), "'accuracy' must be between 0 and 1, and is 1.5"),
        (lambda path: edit_summary(path, layers=None), "'layers' must be a mapping, and is None"),
        (lambda path: edit_summary(path, weights_left=10**9), "weights, MACs or units cannot be left"),
        (lambda path: edit_summary(path, seed=7), r"is of another run .*: its seed is 7, and there it is 0"),
        (lambda path: edit_summary(path, accuracy=0.0), r"metrics.csv is of another run than .*summary.json"),
        (spoil("predictions.csv", "label,answer\n1,x\n"), "predictions.csv is damaged"),
        (spoil("metrics.csv", "1" * 2**18), "metrics.csv is damaged .it is no table"),
        (spoil("predictions.csv", "1" * 2**18), "predictions.csv is damaged .it is no table"),
        (spoil("predictions.csv", ""), "predictions.csv is damaged"),
        (spoil("predictions.csv", "label,answer\n"), "predictions.csv is damaged .it holds no samples"),
        (spoil("dynamics.safetensors", "x"), "dynamics.safetensors is damaged"),
        (spoil("example.safetensors", ""), "example.safetensors is damaged"),
    ],
)
def test_damaged_folders_are_one_sentence(copied, harm, sentence, capsys):
    harm(copied)
    assert cli.main(["report", str(copied)]) == cli.WRONG_INPUT
    phase, said = capsys.readouterr().err.splitlines()
    assert phase == f"drawing the page of {copied}"
    assert re.search(sentence, said), said
    assert not (copied / "report.html").exists()


def test_no_folder_is_one_sentence(tmp_path, capsys):
    assert cli.main(["report", str(tmp_path / "nothing")]) == cli.WRONG_INPUT
    assert "there is no folder" in capsys.readouterr().err


@pytest.mark.usefixtures("without_pictures")
def test_a_page_that_cannot_be_written_leaves_the_old_one(copied, monkeypatch):
    (copied / "report.html").write_text("old")
    monkeypatch.setattr(pages, "LARGEST", 1000)
    with pytest.raises(UserError, match="must stay below"):
        report(copied)
    assert (copied / "report.html").read_text() == "old"
    assert not [path for path in copied.iterdir() if path.name.startswith(".report")]


# --- arithmetic


def test_fates_compare_the_pruned_with_the_kept_of_the_same_epochs():
    # Two units die: one after epoch 1 with 4 synapses, one after epoch 2 with 2; two are kept.
    fan_in = np.array([[4, 4, 8, 8], [-1, 2, 6, 8], [-1, -1, 6, 4]])
    found = fates(np.array([1, 2, 3]), fan_in)
    assert found is not None
    assert found.count == 2
    assert found.at_death == (4 + 2) / 2
    assert found.kept_then == (8 + 7) / 2
    assert found.kept.tolist() == [8, 7, 5]
    assert found.pruned[:2].tolist() == [4, 2]
    assert np.isnan(found.pruned[2])


def test_fates_are_silent_where_there_is_nothing_to_compare():
    epochs = np.array([1, 2])
    assert fates(epochs, np.array([[4, 3], [4, 3]])) is None  # nobody died
    assert fates(epochs, np.array([[9, 9], [-1, 9]])) is None  # a convolution: all have the same number


def test_survival_lines_end_with_the_last_value_before_death():
    nan = np.nan
    values = np.array([[10, 10, 10], [4, 9, nan], [1, 8, nan]], dtype=np.float16)
    values[2, 0] = nan
    lives = last_epochs(Dynamics({}, {"survival/neurons/a": values}), "neurons")
    assert [life.tolist() for life in lives] == [[10, 4], [10]]


def test_ranks_are_among_the_living_and_ties_share_theirs():
    assert ranked(np.array([3.0, np.nan, 1.0, 2.0])).tolist()[::2] == [1.0, 0.0]
    assert ranked(np.array([[5.0, 5.0], [1.0, 9.0]])).tolist() == [[0.5, 0.5], [0.0, 1.0]]


def test_confusion_counts_rows_by_class():
    matrix = counts(np.array([0, 0, 1, 2, 2]), np.array([0, 1, 1, 0, 2]), 3)
    assert matrix.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 1]]


def test_an_analogue_layers_multiplications_are_operations_too():
    none, macs = Counts(0.0, 0.0, 0.0), Counts(8.0, 6.0, 5.0)
    layer = LayerSynops(0.0, 0.0, 0.0, macs, 0.0)
    counted = Synops(0.0, 0.0, 0.0, macs, none, {}, {"a": layer})
    assert by_layer(counted) == {"a": {"dense": 8.0, "masked": 6.0, "compact": 5.0}}


def test_frames_are_as_opaque_as_events_are_many():
    frame = np.zeros((2, 1, 3), dtype=np.uint8)
    frame[1, 0, 0], frame[0, 0, 1] = 2, 1  # two brighter, one darker, nothing
    shown = picture_of(frame, 2.0, events=True)
    assert shown[0, :, 3].tolist() == [1.0, 0.5, 0.0]
    for place, colour in ((0, ON), (1, OFF)):
        wanted = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        assert shown[0, place, :3] == pytest.approx(wanted)


def test_interval_is_of_the_same_samples_only(folder, copied):
    inside = sampled_difference(read_run(folder))
    assert inside is not None
    assert inside.mean == pytest.approx(
        read_run(folder).summary.accuracy - read_run(folder / "dense").summary.accuracy
    )
    (copied / "dense" / "predictions.csv").write_text("label,answer\n0,0\n")
    assert sampled_difference(read_run(copied)) is None


def test_remark_says_what_one_seed_is_worth(folder):
    html = (folder / "report.html").read_text()
    assert "there is one run of each network: snnprune bench compares over seeds" in " ".join(html.split())


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (67.3, "67.3"), (9999, "9,999"), (776_730, "776.7 k"), (10_000, "10 k"), (26.4e6, "26.4 M")],
)
def test_numbers_with_units(number, text):
    assert short(number) == text


# --- a picture that fails


def broken(_: object) -> None:
    raise ZeroDivisionError("division by zero")


def test_a_picture_that_fails_costs_itself_alone(copied, monkeypatch):
    monkeypatch.setitem(SECTIONS, "Learning and pruning", ("", (learning.weights_left, broken)))
    written = report(copied)
    assert written.failures == [
        "Broken: not shown, because it could not be drawn (ZeroDivisionError: division by zero)."
    ]
    html = written.path.read_text()
    assert written.failures[0] in html
    assert len(Parsed(html).images) == 12 - 2


def test_a_picture_that_fails_when_drawn_has_its_own_title(folder, tmp_path):
    def half_made(_: object) -> Picture:
        return Picture("name", "Its own title", "", "", lambda: broken(None))

    drawn, missing = draw_all([half_made, learning.by_rate], read_run(folder), tmp_path)
    assert [one.picture.name for one in drawn] == ["accuracy-by-rate"]
    assert [one.title for one in missing] == ["Its own title"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "accuracy-by-rate.png",
        "accuracy-by-rate.svg",
    ]


def test_a_page_that_fails_never_fails_a_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("snnprune.report.report.report", lambda *_, **__: broken(None))
    summary = run.train(tiny_run.config(epochs=1), tmp_path / "run")
    assert summary["epochs"] == 1
    assert "was written: ZeroDivisionError: division by zero" in " ".join(capsys.readouterr().out.split())
    assert (tmp_path / "run" / "summary.json").is_file()


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_epochs_are_whole_numbers_on_the_axis(epochs, tmp_path):
    rows = [records.epoch(n, n / 10) for n in range(1, epochs + 1)]
    axes = learning.accuracy(replace(records.run(), path=tmp_path, rows=rows)).draw().axes[0]
    low, high = axes.get_xlim()
    assert [tick for tick in axes.get_xticks() if low <= tick <= high] == list(range(1, epochs + 1))
    assert (axes.lines[0].get_marker() == "o") == (epochs == 1)
    assert (axes.get_ylim() == (-3, 103)) == (epochs == 1)


def test_a_run_with_sigmoid_units_has_its_page(tmp_path, capsys):
    config = tiny_run.config("bsp", "mlp-ann", epochs=2)
    run.train(replace(config, model=replace(config.model, activation="sigmoid")), tmp_path / "run")
    assert "warning" not in capsys.readouterr().out
    assert "Firing rate per layer" not in (tmp_path / "run" / "report.html").read_text()
