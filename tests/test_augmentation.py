"""Changes of training samples: what each does, and that place and epoch alone decide which."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from snnprune import cli, data
from snnprune.common.errors import UserError
from snnprune.config.changes import Changes
from snnprune.config.check import check
from snnprune.config.schema import DataConfig, RunConfig
from snnprune.config.unused import unused
from snnprune.data import AugmentedSet, augmented
from snnprune.data.augmentation import moves
from snnprune.training import assembly, run
from snnprune.training.rehearsal import first_batch
from snnprune.training.sampler import EpochSampler, SharedBatches
from snnprune.training.task import Task
from support import tiny_run

if TYPE_CHECKING:
    from pathlib import Path

    from snnprune.config.schema import RunConfig as Run

ALL = "shift=2,roll=1,flip=0.5,drop=0.4,jitter=0.3,cutout=3"


def dice(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def recording(seed: int = 0, shape: tuple[int, ...] = (4, 2, 6, 7), rate: float = 1.0) -> np.ndarray:
    return dice(seed).poisson(rate, shape).astype(np.uint8)


def with_changes(text: str | None, method: str = "dense", **train: Any) -> Run:
    config = tiny_run.config(method, **train)
    return replace(config, data=replace(config.data, augment=text))


# --- each change


def test_a_shift_loses_what_leaves_and_a_roll_brings_it_back() -> None:
    frames = np.arange(12, dtype=np.uint8).reshape(1, 1, 3, 4)
    shifts, rolls = set(), set()
    for seed in range(300):
        shifts.add(augmented(frames, Changes(shift=1), dice(seed)).tobytes())
        rolls.add(augmented(frames, Changes(roll=1), dice(seed)).tobytes())
    padded = np.pad(frames[0, 0], 1)
    assert shifts == {padded[1 - y : 4 - y, 1 - x : 5 - x].tobytes() for y in (-1, 0, 1) for x in (-1, 0, 1)}
    assert rolls == {np.roll(frames, (y, x), (2, 3)).tobytes() for y in (-1, 0, 1) for x in (-1, 0, 1)}


def test_offsets_are_equally_likely() -> None:
    frames = np.zeros((1, 1, 5, 5), np.uint8)
    frames[0, 0, 2, 2] = 1
    places = sum(augmented(frames, Changes(shift=2), dice(seed))[0, 0].astype(int) for seed in range(5000))
    assert places.sum() == 5000
    assert np.abs(places - 200).max() < 4 * math.sqrt(200)


def test_a_flip_exchanges_left_and_right_and_keeps_polarity() -> None:
    frames = recording()
    assert (augmented(frames, Changes(flip=1.0), dice()) == frames[:, :, :, ::-1]).all()
    flipped = [(augmented(frames, Changes(flip=0.3), dice(i)) != frames).any() for i in range(1000)]
    assert np.mean(flipped) == pytest.approx(0.3, abs=0.06)


def test_a_cutout_empties_one_square_at_all_times() -> None:
    frames = np.ones((3, 2, 9, 9), np.uint8)
    whole = []
    for seed in range(100):
        empty = augmented(frames, Changes(cutout=3), dice(seed)) == 0
        assert (empty == empty[0, 0]).all()
        rows, columns = np.flatnonzero(empty[0, 0].any(1)), np.flatnonzero(empty[0, 0].any(0))
        assert empty[0, 0].sum() == len(rows) * len(columns) > 0
        assert np.ptp(rows) < 3 > np.ptp(columns)
        whole.append(empty[0, 0].sum() == 9)
    assert np.mean(whole) == pytest.approx(49 / 81, abs=0.2)  # the others lie partly outside
    assert frames.all()  # those that were given are as they were


def test_drops_thin_the_counts_by_half_the_share_on_average() -> None:
    frames = np.full((2, 2, 10, 10), 3, np.uint8)  # 1200 events
    left = [augmented(frames, Changes(drop=0.6), dice(seed)) for seed in range(400)]
    assert all((thin <= frames).all() for thin in left)
    shares = np.array([1 - thin.sum() / frames.sum() for thin in left])
    assert shares.mean() == pytest.approx(0.3, abs=0.03)
    assert shares.std() == pytest.approx(0.6 / math.sqrt(12), rel=0.1)  # a share for each sample, uniform
    sample = left[int(shares.argmax())].ravel()
    share = float(shares.max())
    wanted = [math.comb(3, k) * (1 - share) ** k * share ** (3 - k) for k in range(4)]
    assert np.bincount(sample, minlength=4) / 400 == pytest.approx(wanted, abs=0.1)  # binomial


@pytest.mark.parametrize("jitter", [0.05, 0.3, 1.0])
def test_jitter_moves_by_the_chances_of_a_normal_time(jitter: float) -> None:
    steps = 15
    frames = np.zeros((steps, 1, 20, 20), np.uint8)
    frames[7] = 250  # 100,000 events
    moved = augmented(frames, Changes(jitter=jitter), dice()).sum((1, 2, 3)).astype(float)
    assert moved.sum() == frames.sum()
    normal = dice(1)  # the independent way: each event at its own time
    times = 7 + normal.random(10**6) + jitter * normal.standard_normal(10**6)
    wanted = np.bincount(np.floor(times).astype(int), minlength=steps)[:steps] / 10**6
    assert moved / moved.sum() == pytest.approx(wanted, abs=0.005)


def test_chances_of_jitter_on_paper() -> None:
    first, ends = moves(0.1)
    chances = dict(enumerate(np.diff(ends, prepend=0.0), first))
    assert chances[1] == pytest.approx(0.1 / math.sqrt(2 * math.pi), abs=1e-6)
    assert chances[-1] == pytest.approx(chances[1], abs=1e-6)
    assert chances[0] == pytest.approx(1 - 0.2 / math.sqrt(2 * math.pi), abs=1e-6)
    assert ends[-1] == 1


def test_jitter_keeps_events_in_the_recording_and_in_their_cell() -> None:
    frames = recording(shape=(2, 2, 30, 30), rate=2.0)
    moved = augmented(frames, Changes(jitter=1.0), dice())
    assert (moved != frames).any()
    assert (moved.astype(int).sum(0) == frames.astype(int).sum(0)).all()


def test_counts_above_255_stay_at_255() -> None:
    frames = np.full((2, 1, 4, 4), 250, np.uint8)
    assert augmented(frames, Changes(jitter=1.0), dice()).max() <= 255
    assert augmented(frames, Changes(jitter=1.0), dice()).dtype == np.uint8


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.integers(0, 10**6),
    st.tuples(st.integers(1, 5), st.integers(1, 2), st.integers(4, 9), st.integers(4, 9)),
    st.sampled_from([0.0, 0.1, 40.0]),
)
def test_no_event_is_made(seed: int, shape: tuple[int, ...], rate: float) -> None:
    frames = recording(seed, shape, rate)
    before = frames.copy()
    found = augmented(frames, Changes.of(ALL), dice(seed))
    assert (found.shape, found.dtype) == (frames.shape, np.uint8)
    assert found.sum() <= frames.sum()
    assert (frames == before).all()


# --- the text


def test_the_order_of_the_text_does_not_matter() -> None:
    assert Changes.of("shift=2, flip=0.5") == Changes.of("flip=0.5,shift=2") == Changes(shift=2, flip=0.5)


@pytest.mark.parametrize(
    "text",
    ["", "shift", "shift=", "shift=0", "shift=-1", "shift=1.5", "shift=1001", "flip=0", "flip=1.01", "drop=1",
     "drop=0", "drop=nan", "drop=1e999", "jitter=2", "turn=3", "shift=1,shift=2", "shift=1,,flip=1",
     "flip=1,", "shift=1;flip=1", "SHIFT=1", "cutout=" + "9" * 400],
)  # fmt: skip
def test_other_texts_are_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(UserError, match=r"^data.augment must be changes joined by commas") as error:
        check(RunConfig(DataConfig(augment=text)))
    for name in ("shift=", "roll=", "flip=", "drop=", "jitter=", "cutout=", "from 1 to 1,000", "or null"):
        assert name in str(error.value)
    assert "\n" not in str(error.value)


def test_the_command_line_refuses_before_data_are_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["--data.name", "nmnist", "--data.root", str(tmp_path), "--data.augment", "turn=3"]
    assert cli.main(["train", *args, "--out", str(tmp_path / "run")]) == 2
    assert "data.augment must be changes" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "run").exists()


def test_a_change_as_large_as_the_frames_is_refused() -> None:
    with pytest.raises(UserError, match="less than the 8 pixels of a frame, and has shift=8"):
        AugmentedSet(tiny_run.stripes(6, 0), Changes(shift=8), 0)


def test_images_are_left_alone() -> None:
    images = data.FrameSet(np.ones((20, 1, 8, 8), np.uint8), np.zeros(20, np.int64))
    for batch, _ in assembly.loader(images, with_changes("cutout=7"), shuffled=True):
        assert batch.all()
    (sentence,) = unused(RunConfig(DataConfig("mnist", augment="flip=0.5")), {"data.augment"})
    assert "mnist holds still images" in sentence
    assert unused(RunConfig(DataConfig("nmnist", augment="flip=0.5")), {"data.augment"}) == []


# --- (seed, epoch, sample) alone decide


def seen(loader: Any, epoch: int) -> dict[int, bytes]:
    """Return what each sample became in an epoch; labels are the samples' numbers."""
    sampler = loader.batch_sampler if isinstance(loader.batch_sampler, SharedBatches) else loader
    sampler.sampler.set_epoch(epoch)
    pairs = (pair for batch, labels in loader for pair in zip(batch, labels, strict=True))
    return {int(label): frames.numpy().tobytes() for frames, label in pairs}


def numbered(count: int = 26) -> data.FrameSet:
    return data.FrameSet(recording(1, (count, 4, 2, 8, 8)), np.arange(count, dtype=np.int64))


def test_batches_workers_and_processes_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = numbered()
    small, large = (
        seen(assembly.loader(frames, with_changes(ALL, batch_size=size), shuffled=True), 3)
        for size in (2, 13)
    )
    assert small == large
    assert len(small) == 26
    changed = AugmentedSet(frames, Changes.of(ALL), 0)
    workers: Any = DataLoader(
        changed, 4, sampler=EpochSampler(26, 0, with_epoch=True), collate_fn=data.as_is, num_workers=2,
        persistent_workers=True,
    )  # fmt: skip
    assert seen(workers, 2) != seen(workers, 3) == small
    monkeypatch.setattr("snnprune.common.ranks.world_size", lambda: 3)
    shared: dict[int, bytes] = {}
    for rank in range(3):
        monkeypatch.setattr("snnprune.common.ranks.rank", lambda rank=rank: rank)
        config = with_changes(ALL, batch_size=13)
        shared |= seen(assembly.loader(frames, config, shuffled=True, shared=True), 3)
    assert shared == small


def test_another_epoch_seed_or_sample_is_changed_otherwise() -> None:
    frames = data.FrameSet(np.repeat(recording(1, (1, 4, 2, 8, 8)), 10, 0), np.arange(10, dtype=np.int64))
    first = seen(assembly.loader(frames, with_changes("drop=0.5"), shuffled=True), 0)
    assert len(set(first.values())) == 10
    second = seen(assembly.loader(frames, with_changes("drop=0.5"), shuffled=True), 1)
    other = seen(assembly.loader(frames, with_changes("drop=0.5", seed=1), shuffled=True), 0)
    assert not set(first.values()) & (set(second.values()) | set(other.values()))


def test_only_training_batches_are_changed() -> None:
    splits, config = tiny_run.splits(), with_changes(ALL)
    for part in (splits.validation, splits.test):
        found = torch.cat([batch for batch, _ in assembly.loader(part, config, shared=True)])
        assert torch.equal(found, part.__getitems__(range(len(part)))[0])
    task = assembly.task(config, splits)  # networks are looked at with samples as they are
    assert torch.equal(first_batch(task, splits, config), first_batch(task, splits, with_changes(None)))


def test_without_changes_batches_are_what_they_were() -> None:
    frames = numbered()
    loader = assembly.loader(frames, with_changes(None, batch_size=5), shuffled=True)
    assert loader.dataset is frames
    loader.sampler.set_epoch(4)  # type: ignore[attr-defined]
    order = list(EpochSampler(26, 0))
    assert list(loader.sampler) != order  # of epoch 0
    assert sorted(loader.sampler) == sorted(order)


# --- runs


def trained(out: Path, epochs: int, method: str = "dense", *, twin: bool = False) -> Path:
    run.train(with_changes(ALL, method, epochs=epochs, twin=twin), out, page=False)
    return out


def rows(out: Path) -> list[str]:
    """Return the lines of metrics.csv without their times."""
    header, *lines = (out / "metrics.csv").read_text().splitlines()
    place = header.split(",").index("seconds")
    return [",".join(cell for i, cell in enumerate(line.split(",")) if i != place) for line in lines]


def test_an_interrupted_run_ends_as_the_whole_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, out = trained(tmp_path / "whole", 2), tmp_path / "run"
    step = Task.training_step

    def interrupted(self: Task, batch: Any, batch_idx: int) -> Any:
        if (self.current_epoch, batch_idx) == (1, 2):
            raise RuntimeError("the power went")
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(Task, "training_step", interrupted)
        with pytest.raises(RuntimeError, match="the power went"):
            trained(out, 2)
    run.resume(out, page=False)
    assert rows(out) == rows(whole)
    assert (out / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_the_twin_trains_on_the_same_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[bytes]] = []
    get = AugmentedSet.__getitems__

    def watched(self: AugmentedSet, numbers: Any) -> Any:
        batch = get(self, numbers)
        asked[-1].append(batch[0].numpy().tobytes())
        return batch

    def begun(self: AugmentedSet, *args: Any) -> None:
        asked.append([])
        start(self, *args)

    start = AugmentedSet.__init__
    monkeypatch.setattr(AugmentedSet, "__init__", begun)
    monkeypatch.setattr(AugmentedSet, "__getitems__", watched)
    trained(tmp_path / "run", 3, "dpap", twin=True)
    pruned, twin = asked
    assert pruned == twin
    assert len(set(pruned)) == 15  # five batches an epoch, other ones in each


def test_sound_moves_along_its_channels_alone() -> None:
    """A frame of one row: 1 2 3 4 moves by at most two channels and never out of its row."""
    frames = np.array([1, 2, 3, 4], np.uint8).reshape(1, 1, 1, 4)
    seen = {
        tuple(augmented(frames, Changes(shift=2), np.random.default_rng(seed)).ravel().tolist())
        for seed in range(100)
    }
    assert seen == {(3, 4, 0, 0), (2, 3, 4, 0), (1, 2, 3, 4), (0, 1, 2, 3), (0, 0, 1, 2)}


def test_sound_may_move_by_less_than_its_channels() -> None:
    sound = data.FrameSet(np.ones((3, 2, 1, 1, 6), np.uint8), np.zeros(3, np.int64))
    assert len(AugmentedSet(sound, Changes(shift=5, cutout=2), 0)) == 3
    with pytest.raises(UserError, match="less than the 6 channels of a frame, and has shift=6"):
        AugmentedSet(sound, Changes(shift=6), 0)


@pytest.mark.parametrize("name", ["shd", "ssc", "synthetic-spoken-digits"])
def test_sound_is_not_flipped(name: str) -> None:
    check(RunConfig(DataConfig(name, augment="shift=4,drop=0.1")))
    with pytest.raises(
        UserError, match=f"data.augment must not flip {name}, and is 'shift=4,flip=0.5': high"
    ):
        check(RunConfig(DataConfig(name, augment="shift=4,flip=0.5")))
