"""Synthetic spoken digits: the cochlea by hand, words and their reversals, and a network that learns them."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from snnprune import data
from snnprune.config.schema import DataConfig, MethodConfig, ModelConfig, RunConfig, TrainConfig
from snnprune.data.cochlea import Cochlea, spikes
from snnprune.data.speech import SOUNDS, WORDS, Speaker, Utterance
from snnprune.data.spoken_digits import CLASSES, SYNTHETIC_SPOKEN_DIGITS
from snnprune.export.subject import Subject
from snnprune.nn.scores import scores_of
from snnprune.runs.tensors import read_example
from snnprune.training import assembly, run

if TYPE_CHECKING:
    from pathlib import Path

    from snnprune.runs.summary import Summary

FEW = replace(SYNTHETIC_SPOKEN_DIGITS, speakers=(2, 1, 1), times=1)
NOBODY = Speaker(tract=1.0, pitch=120.0, pace=1.0)


def asked(folder: Path, **changes: object) -> DataConfig:
    settings: dict[str, object] = {"time_steps": 25, "bin": "28ms", "cache": str(folder)} | changes
    return DataConfig("synthetic-spoken-digits", **settings)  # type: ignore[arg-type]


def test_places_are_equally_spaced_on_the_scale_of_bandwidths() -> None:
    cochlea = Cochlea(channels=5)
    found = cochlea.frequencies
    assert found[[0, -1]] == pytest.approx([100, 7000])
    scale = 21.4 * np.log10(1 + 0.00437 * found)
    assert np.diff(scale) == pytest.approx(np.diff(scale)[0])
    one = replace(cochlea, channels=1, lowest=1000.0, highest=1000.0)
    assert one.bandwidths == pytest.approx([132.6], abs=0.1)  # Glasberg and Moore: 133 Hz at 1 kHz


def test_a_cell_of_the_cochlea_by_hand() -> None:
    """Power 1. Step 1: r = 0.1, store 0.9, v = 0.6. Step 2: r = 0.09, store 0.815, v = 0.54 + 0.54: a spike.

    Three steps without one follow, in which the store goes on to 0.743, 0.681 and 0.629. Then r = 0.063,
    0.058, 0.055, 0.052 and v = 0.38, 0.69, 0.95, 1.16: a spike.
    """
    start = np.zeros((1, 1), np.float32)
    fired = spikes(np.ones((9, 1, 1), np.float32), start, Cochlea())
    assert np.flatnonzero(fired).tolist() == [1, 8]
    assert not spikes(np.zeros((50, 1, 1), np.float32), start + 0.99, Cochlea()).any()


def test_an_onset_gives_more_spikes_than_what_follows() -> None:
    fired = spikes(
        np.ones((200, 1, 40), np.float32), np.linspace(0, 0.9, 40, dtype=np.float32)[None], Cochlea()
    )
    assert fired[:20].mean() > 1.3 * fired[100:].mean() > 0.05


def test_a_vowel_is_heard_at_its_formants() -> None:
    cochlea = Cochlea(channels=200)
    word = replace(Utterance("three", NOBODY))  # it ends with a long i: 270, 2290 and 3010 Hz
    power = word.power(cochlea, 700, np.random.default_rng(0))
    assert power.shape == (700, 200)
    assert power.min() >= 0
    loud = power.sum(1) > 0.2 * power.sum(1).max()
    late = power[np.flatnonzero(loud)[-40:]].mean(0)
    peaks = [i for i in range(1, 199) if late[i] > late[i - 1] and late[i] > late[i + 1]]
    assert cochlea.frequencies[peaks] == pytest.approx(np.array(SOUNDS["i"].formants), rel=0.15)


@pytest.mark.parametrize("word", WORDS)
def test_a_word_backwards_has_the_same_sounds_in_another_order(word: str) -> None:
    cochlea = Cochlea()
    ahead, back = (
        np.mean(
            [Utterance(word, NOBODY, way).power(cochlea, 700, np.random.default_rng(i)) for i in range(30)],
            axis=0,
        )
        for way in (False, True)
    )
    assert np.corrcoef(ahead.sum(0), back.sum(0))[0, 1] > 0.95
    assert np.abs(ahead - back).sum() > 0.3 * ahead.sum()


def test_it_repeats_itself_and_does_not_depend_on_the_company() -> None:
    alone = list(islice(replace(FEW, speakers=(1, 0, 0)).streams(), 20))
    for one, other in zip(alone, FEW.streams(), strict=False):
        assert np.array_equal(one.t, other.t)
        assert np.array_equal(one.x, other.x)
    assert alone[0].sensor == (70, 1)
    assert all((np.diff(each.t) >= 0).all() and each.t[0] == 0 and each.p.all() for each in alone)
    assert 400 < np.mean([len(each) for each in alone]) < 1500


def test_nobody_speaks_in_two_parts() -> None:
    recordings = list(SYNTHETIC_SPOKEN_DIGITS.recordings())
    assert len(recordings) == 2000
    speakers = {
        part: {r.group for r in recordings if r.part == part} for part in ("train", "validation", "test")
    }
    assert [len(who) for who in speakers.values()] == [15, 5, 5]
    assert len(set.union(*speakers.values())) == 25
    assert np.bincount([r.label for r in recordings]).tolist() == [100] * len(CLASSES)


def test_frames_have_the_form_of_shd(tmp_path: Path) -> None:
    splits = FEW.load(asked(tmp_path))
    assert splits.shape == (1, 1, 70)
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [40, 20, 20]
    assert splits.classes[:3] + splits.classes[-1:] == ("zero", "one", "two", "nine backwards")
    frames, label = splits.train[0]
    assert frames.shape == (25, 1, 1, 70)
    assert int(label) == 0
    assert FEW.load(asked(tmp_path, size="35x1")).shape == (1, 1, 35)
    assert data.where("synthetic-spoken-digits", None) is not None


def learnt(config: DataConfig, folder: Path, *, page: bool, **changes: Any) -> Summary:
    """A short run of a small recurrent network on four speakers."""
    settings = RunConfig(
        data=config,
        model=ModelConfig("rsnn", hidden=8, **changes),
        method=MethodConfig("magnitude", target=0.5),
        train=TrainConfig(epochs=6, lr=1e-2, twin=False, over_time="max", device="cpu", threads=1),
    )
    summary = run.train(settings, folder, splits=FEW.load(config), page=page)
    assert summary is not None
    return summary


def test_a_recurrent_network_from_data_to_its_numbers(tmp_path: Path) -> None:
    summary = learnt(asked(tmp_path, time_steps=6, bin="110ms"), tmp_path / "run", page=False)
    assert summary["pruning_rate"] == pytest.approx(0.5, abs=0.02)
    assert set(summary["neurons_left"]) == {"fc1", "fc2", "out"}
    assert set(summary["synops"]["layers"]) == {"fc1", "fc1_rec.feedback", "fc2", "fc2_rec.feedback", "out"}
    example = read_example(tmp_path / "run" / "example.safetensors")
    assert example is not None
    assert example.about.readout == "out_li"
    assert example.about.neurons == ["fc1_rec.neuron", "fc2_rec.neuron"]
    assert example.tensors["activity/out_li"].shape == (6, 20)
    assert example.tensors["activity/fc1_rec.neuron"].shape == (6, 8)


@pytest.mark.parametrize("over_time", ["mean", "max", "last"])
def test_training_and_evaluation_take_the_same_scores(over_time: str, tmp_path: Path) -> None:
    config = RunConfig(
        data=asked(tmp_path, time_steps=6, bin="110ms"),
        model=ModelConfig("rsnn", hidden=8, accelerate=False),
        train=TrainConfig(over_time=over_time, device="cpu"),  # type: ignore[arg-type]
    )
    splits = replace(FEW, speakers=(1, 1, 1)).load(config.data)
    task = assembly.task(config, splits).eval()
    subject = Subject.of("it", task.model, config, splits)
    with torch.no_grad():
        wanted = scores_of(subject.outputs(subject.example()), over_time)
        assert torch.equal(task(subject.example()), wanted)
        assert torch.equal(subject.scores(subject.example()), wanted)


@pytest.mark.slow
def test_its_page_shows_potentials(tmp_path: Path) -> None:
    learnt(asked(tmp_path), tmp_path / "run", page=True, neuron="alif", tau="heterogeneous")
    page = (tmp_path / "run" / "report.html").read_text()
    assert "(potential " in page
    assert "could not be drawn" not in page
