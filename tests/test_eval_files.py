"""One run in all its files: they answer alike, and what does not fit is a sentence."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn

import snnprune
from snnprune.common.errors import UserError
from snnprune.engine.plan import Layer
from snnprune.export import evaluation, exporting, latency
from snnprune.export.planning import plan_of
from snnprune.export.subject import Subject
from snnprune.runs import about
from snnprune.runs.folder import RunFolder
from snnprune.training import run
from support import tiny_run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FORMATS = ("nir", "onnx", "safetensors")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A finished run of the accelerated network, with an export in each format."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latency, "ROUNDS", 3)
        out = tmp_path_factory.mktemp("runs") / "run"
        run.train(tiny_run.config(export_check="nir"), out, page=False)
        yield out, {to: exporting.export(out, to) for to in FORMATS}


@pytest.mark.parametrize("to", FORMATS)
def test_what_is_written_answers_as_the_run_does(exported: tuple[Path, dict[str, Any]], to: str) -> None:
    out, written = exported
    found = written[to]["round_trip"]
    assert (found["samples"], found["answers_differ"], found["spike_flips"]) == (21, 0, 0)
    assert found["spikes"] > 100
    assert found["largest_difference"] < 1e-5
    summary = json.loads((out / "summary.json").read_text())
    result = evaluation.evaluate(out / "export" / f"model.{to}")
    assert result["accuracy"] == summary["accuracy"]
    assert result["confusion"] == evaluation.evaluate(out)["confusion"]
    assert np.sum(result["confusion"]) == result["samples"] == 21
    assert result["latency"]["batch_1"]["rounds"] == result["latency"]["batch_64"]["rounds"] == 3
    assert result["latency"]["batch_64"]["median_ms"] <= result["latency"]["batch_64"]["p99_ms"]


def test_operations_are_those_of_the_summary(
    exported: tuple[Path, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    out, _ = exported
    synops = json.loads((out / "summary.json").read_text())["synops"]
    counted = evaluation.evaluate(out)["operations"]
    assert counted["synops"] == pytest.approx(synops["masked"])
    assert counted["synops_by_events"] == pytest.approx(synops["by_events"]["masked"])
    # A word of its own: the MACs of the table of `train` count every weight, spikes or not.
    shown = f"SynOps ({counted['synops_by_events']:,.0f} by events) and 0 analogue MACs a sample"
    assert shown in " ".join(capsys.readouterr().out.split())
    compact = evaluation.evaluate(out / "model.safetensors")["operations"]
    assert compact["synops"] > 0
    for to in FORMATS:
        assert evaluation.evaluate(out / "export" / f"model.{to}")["operations"] == pytest.approx(compact)


def test_the_compact_network_of_a_run_needs_no_note(exported: tuple[Path, dict[str, Any]]) -> None:
    out, _ = exported
    result = evaluation.evaluate(out / "model.safetensors")
    assert result["accuracy"] == json.loads((out / "summary.json").read_text())["accuracy"]


def test_the_compact_network_of_a_run_may_be_taken_elsewhere(
    exported: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    out, _ = exported
    for name in ("model.safetensors", "model.json"):
        shutil.copy(out / name, tmp_path)
    result = evaluation.evaluate(tmp_path / "model.safetensors")
    assert result["accuracy"] == json.loads((out / "summary.json").read_text())["accuracy"]
    assert result["dataset"] == tiny_run.DATA


def test_in_its_run_a_compact_network_reads_the_runs_folder_of_data(
    exported: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    out, _ = exported
    for name in ("model.safetensors", "model.json"):
        shutil.copy(out / name, tmp_path)
    folder = RunFolder(tmp_path)
    config = asdict(RunFolder(out).read_config())
    folder.config.write_text(yaml.safe_dump(config | {"data": config["data"] | {"root": "/there"}}))
    tiny_run.STRIPES.asked.clear()
    evaluation.evaluate(folder.network)
    assert [config.root for config in tiny_run.STRIPES.asked] == ["/there"]


@pytest.mark.parametrize("bits", [None, 8, 4])
def test_a_list_of_connections_is_run_where_events_arrive(
    exported: tuple[Path, dict[str, Any]], tmp_path: Path, bits: int | None
) -> None:
    out, _ = exported
    file = tmp_path / "csr.safetensors"
    exporting.export(out, "csr", file, bits=bits)
    found = evaluation.evaluate(file)
    assert found["confusion"] == evaluation.evaluate(out, bits=bits)["confusion"]
    assert "recording_ms" not in found
    with pytest.raises(UserError, match="--bits needs a spiking network in the folder of a run"):
        evaluation.evaluate(file, bits=8)


def test_networks_are_timed_side_by_side(
    exported: tuple[Path, dict[str, Any]], tmp_path: Path, capsys: Any
) -> None:
    out, _ = exported
    found = evaluation.evaluate(out)
    assert list(found["recording_ms"]) == ["dense", "masked", "compact", "event_driven"]
    assert min(found["recording_ms"].values()) > 0
    assert found["event_driven"] == {"samples": 21, "answers_differ": 0}
    assert "compact and event-driven differ in 0 of 21 answers" in capsys.readouterr().out
    kept = json.loads((out / "summary.json").read_text())["machine"]["recording_ms"]
    assert kept.keys() == found["recording_ms"].keys()
    alone = evaluation.evaluate(out / "model.safetensors")
    assert list(alone["recording_ms"]) == ["compact", "event_driven"]


def test_files_that_no_evaluation_can_run_say_what_to_give_instead(tmp_path: Path) -> None:
    snnprune.save(nn.Linear(2, 2), tmp_path / "own")
    with pytest.raises(UserError, match=r"own\.safetensors does not say which data .*; give the run"):
        evaluation.evaluate(tmp_path / "own.safetensors")


def test_a_plan_is_had_from_each_of_them(exported: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    out, _ = exported
    exporting.export(out, "csr", tmp_path / "net.safetensors", bits=8)
    exporting.export(out, "csr", tmp_path / "floats.safetensors")
    pairs = [
        (plan_of(out), plan_of(out / "model.safetensors")),
        (plan_of(out), plan_of(tmp_path / "floats.safetensors")),
        (plan_of(out, bits=8), plan_of(tmp_path / "net.safetensors")),
    ]
    for one, other in pairs:
        assert [(n.name, n.sources, n.shape) for n in one.nodes] == [
            (n.name, n.sources, n.shape) for n in other.nodes
        ]
        layers = [
            (a, b)
            for a, b in zip(one.nodes, other.nodes, strict=True)
            if isinstance(a, Layer) and isinstance(b, Layer)
        ]
        assert all(np.array_equal(a.weights, b.weights) for a, b in layers)
        assert (one.bits, one.over_time) == (other.bits, other.over_time)
        assert about.parse(one.about, out) == about.parse(other.about, out)
    with pytest.raises(UserError, match="holds numbers of its own bits: leave bits and dtype out"):
        plan_of(tmp_path / "net.safetensors", bits=4)
    with pytest.raises(UserError, match="is an export already, of which there is no plan"):
        plan_of(out / "export" / "model.onnx")


def test_bits(exported: tuple[Path, dict[str, Any]], tmp_path: Path, capsys: Any) -> None:
    out, _ = exported
    results = [evaluation.evaluate(out, bits=bits, out=tmp_path / "r.json") for bits in (16, 8, 4)]
    flips = [result["beside_floats"]["spike_flips"] for result in results]
    assert flips[0] <= flips[1] <= flips[2]
    assert results[0]["accuracy_of_floats"] == evaluation.evaluate(out)["accuracy"]
    assert json.loads((tmp_path / "r.json").read_text()) == results[2]
    written = exporting.export(out, "csr", tmp_path / "net.safetensors", bits=4)
    assert written["weights_differ"] == 0
    assert written["bytes"] == results[2]["bytes"]["connections"]
    assert f"{written['bytes']:,} bytes" in capsys.readouterr().out


def test_an_export_says_what_chips_are_asked_for(exported: tuple[Path, dict[str, Any]], capsys: Any) -> None:
    out, _ = exported
    result = exporting.export(out)
    assert [layer["name"] for layer in result["demand"]] == ["conv1", "conv2", "fc1", "out"]
    assert result["demand"][3]["neurons"] == 3
    assert "file" not in result
    shown = capsys.readouterr().out
    assert "fan-in" in shown
    assert "https://" in shown


ELSEWHERE = tiny_run.Source()
OTHER = {"data": {"name": "test_eval_files:ELSEWHERE"}}
TOO_MANY = rf"3 classes, and '{tiny_run.DATA}' has frames of shape \(2, 8, 8\) and 4"
TOO_MANY_ELSEWHERE = r"3 classes, and 'test_eval_files:ELSEWHERE' has frames of shape \(2, 8, 8\) and 4"


@pytest.mark.parametrize(
    ("file", "asked", "said"),
    [
        ("export/model.onnx", {}, f"expects .* {TOO_MANY}"),
        (".", OTHER, f"run expects .* {TOO_MANY_ELSEWHERE}"),
        (".", OTHER | {"bits": 8}, f"run expects .* {TOO_MANY_ELSEWHERE}"),
    ],
)
def test_other_data_have_to_fit(
    exported: tuple[Path, dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    file: str,
    asked: dict[str, Any],
    said: str,
) -> None:
    out, _ = exported
    for source in (tiny_run.STRIPES, ELSEWHERE):
        monkeypatch.setitem(source.changed, "classes", ("a", "b", "c", "d"))
    with pytest.raises(UserError, match=said):
        evaluation.evaluate(out / file, **asked)


def test_other_data_do_not_take_over_what_is_said_of_the_runs_own(
    tmp_path: Path, exported: tuple[Path, dict[str, Any]]
) -> None:
    out = tmp_path / "run"
    shutil.copytree(exported[0], out)
    written = yaml.safe_load((out / "config.yaml").read_text())
    own = {
        "root": "/own",
        "samples": 12,
        "classes": "0,1,2",
        "download": True,
        "sensor": "8x8",
        "time_unit": "ms",
        "columns": "t,x,y,p",
        "stream": "left",
        "group": "user..",
    }
    written["data"] |= own | {"cache": "/kept"}
    (out / "config.yaml").write_text(yaml.safe_dump(written))
    tiny_run.STRIPES.asked.clear()
    ELSEWHERE.asked.clear()
    evaluation.evaluate(out)
    evaluation.evaluate(out, OTHER["data"])
    read = [asdict(config) for config in tiny_run.STRIPES.asked + ELSEWHERE.asked]
    assert [{name: one[name] for name in own} for one in read] == [
        own,
        dict.fromkeys(own) | {"download": False},
    ]
    assert [one["cache"] for one in read] == ["/kept", "/kept"]


@pytest.mark.parametrize("file", [".", "model.safetensors", "export/model.onnx", "export/model.nir"])
def test_data_may_be_made_by_hand(exported: tuple[Path, dict[str, Any]], file: str) -> None:
    """Of handmade data only the test set is needed."""
    out, _ = exported
    whole, nothing = tiny_run.splits(), tiny_run.stripes(0, 0)
    given = replace(whole, train=nothing, validation=nothing)
    result = evaluation.evaluate(out / file, splits=given)
    assert result["accuracy"] == json.loads((out / "summary.json").read_text())["accuracy"]
    with pytest.raises(UserError, match=rf"expects frames of .* 3 classes, and '{tiny_run.DATA}' has .* 4"):
        evaluation.evaluate(out / file, splits=replace(given, classes=("a", "b", "c", "d")))
    with pytest.raises(UserError, match=f"in the test set of '{tiny_run.DATA}', and it is empty"):
        evaluation.evaluate(out / file, splits=replace(whole, test=nothing))


class Remembering(nn.Module):
    """A network of one's own that adds up its inputs until it is reset."""

    spiking = True

    def reset(self) -> None:
        self.total: Any = 0.0

    def forward(self, x: Tensor) -> Tensor:
        self.total = self.total + x.mean()
        return self.total.expand(*x.shape[:2], tiny_run.CLASSES)


def test_each_batch_is_answered_from_rest() -> None:
    """As in training, also by neurons that are none of SpikingJelly's but have a reset."""
    model = Remembering()
    subject = Subject.of("mine", model, tiny_run.config(), tiny_run.splits())
    first, again = subject.answers()[0], subject.answers()[0]
    assert first.abs().sum() > 0
    assert torch.equal(first, again)


def test_an_export_may_be_compared_on_data_made_by_hand(
    exported: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    out, _ = exported
    few = replace(tiny_run.splits(), test=tiny_run.stripes(5, 3))
    written = exporting.export(out, "safetensors", tmp_path / "net.safetensors", splits=few)
    assert written["round_trip"]["samples"] == 5
    assert written["round_trip"]["spike_flips"] == 0


def test_settings_of_the_data_are_taken_over(
    exported: tuple[Path, dict[str, Any]],
) -> None:
    out, _ = exported
    ELSEWHERE.asked.clear()
    evaluation.evaluate(out / "export" / "model.nir", OTHER["data"] | {"root": "/there"})
    read = [(config.root, config.name, config.time_steps) for config in ELSEWHERE.asked]
    assert read == [("/there", OTHER["data"]["name"], 4)]


def test_what_cannot_be_asked_for_is_a_sentence(
    exported: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    out, _ = exported
    with pytest.raises(UserError, match="neither the folder of a run nor a file of a network"):
        evaluation.evaluate(out / "summary.json")
    with pytest.raises(UserError, match="--bits needs a spiking network"):
        evaluation.evaluate(out / "export" / "model.onnx", bits=8)
    with pytest.raises(UserError, match="--bits goes with --to csr"):
        exporting.export(out, "nir", bits=8)
    with pytest.raises(UserError, match=r"must end in \.onnx"):
        exporting.export(out, "onnx", tmp_path / "model.nir")
    assert not (tmp_path / "model.nir").exists()
    with pytest.raises(UserError, match="is an export already"):
        exporting.export(out / "export" / "model.nir", "onnx")
    with pytest.raises(UserError, match="is the network to export"):
        exporting.export(out / "model.safetensors", "safetensors", out / "model.safetensors")
    (tmp_path / "config.yaml").write_text((out / "config.yaml").read_text())
    with pytest.raises(UserError, match="has no compact network yet"):
        exporting.export(tmp_path, "nir")


def test_what_nir_cannot_hold_is_said_before_training(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"NIR cannot hold layer 'pool1': it is a MaxPool2d"):
        run.train(tiny_run.config(model="vgg-snn", export_check="nir"), tmp_path / "run")
    assert not (tmp_path / "run" / "metrics.csv").exists()
