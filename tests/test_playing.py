"""`snnprune run`: a recording that plays has the answers of `eval`, and what does not fit is a sentence."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from snnprune import cli, data, export
from snnprune.common.errors import UserError
from snnprune.config.schema import DataConfig, ModelConfig, RunConfig, TrainConfig
from snnprune.data.events import reading
from snnprune.data.events.stream import Asked
from snnprune.export import connections, playing
from snnprune.export.finding import find
from snnprune.nn.run_network import build_network
from snnprune.runs.about import About
from support.recordings import write_nmnist, write_poker_dvs

OLD_RUN = Path(__file__).parent / "fixtures" / "v0.1" / "run"


def untrained(folder: Path, config: DataConfig, **model: Any) -> Path:
    """Save a network with random weights at which all its layers fire, as a run would on these data."""
    run = RunConfig(config, ModelConfig("conv-snn", hidden=20, **model), train=TrainConfig(device="cpu"))
    splits = data.read(config, needed=("test",))
    network = build_network(run, splits.shape, len(splits.classes))
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim > 1:
                weight.normal_(0.0, 1.0).mul_(3 / weight[0].numel() ** 0.5)
    export.save(network, folder / "net", about=About.of(run, splits, spiking=True).text())
    return folder / "net.safetensors"


class Played(list[playing.Moment]):
    """Answers of a recording that is played, and what was remarked on."""

    def __init__(self, network: playing.Network, path: Path, **asked: Any) -> None:
        super().__init__()
        self.remarks: list[str] = []
        options = {"bin": None, "every": None, "late": "refuse", "outside": "refuse"} | asked
        asking = playing.Asking(**options, tell=self.append, remark=self.remarks.append)
        self.numbers = playing.play_file(network, path, asking)

    @property
    def finals(self) -> list[playing.Moment]:
        return [moment for moment in self if moment.last]


def alike(network: Path, root: Path, **changed: Any) -> int:
    """Play each test recording, and compare with the scores of `eval`; return how many of these differ."""
    config = {"root": str(root), "cache": str(root / "frames"), **changed}
    subject = find(network, config)
    scores, _ = subject.answers()
    source = playing._source(subject.config.data.name)
    live = playing.network(network, changed)
    got = [
        final.scores
        for recording in source.list(source.found(root), "test")
        for final in Played(live, recording.path).finals
    ]
    assert len(got) == len(scores)
    assert np.allclose(got, scores, rtol=1e-6, atol=1e-6)
    return len(set(map(tuple, scores.tolist())))


@pytest.fixture(scope="module")
def nmnist(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Recordings of N-MNIST's format, and a network that reads them."""
    root = write_nmnist(tmp_path_factory.mktemp("recordings"), train=1, test=1)
    config = DataConfig("nmnist", str(root), str(root / "frames"), time_steps=6)
    torch.manual_seed(1)
    return root, untrained(tmp_path_factory.mktemp("network"), config)


@pytest.fixture(scope="module")
def listed(nmnist: tuple[Path, Path]) -> Path:
    """The network's list of connections."""
    root, network = nmnist
    subject = find(network, {"root": str(root), "cache": str(root / "frames")})
    path = network.with_name("net.csr.safetensors")
    connections.write(subject.model, path, subject.example(), **subject.kept())
    return path


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"bin": "40ms"},
        {"bin": "70ms", "hot_pixels": "remove"},
        {"window": "100ms"},
        {"window": "100ms", "stride": "30ms", "time_steps": 4},
        {"binning": "tonic"},
    ],
    ids=str,
)
def test_a_recording_has_the_answers_of_eval(changed: dict[str, Any], nmnist: tuple[Path, Path]) -> None:
    root, network = nmnist
    assert alike(network, root, **changed) > 3


@pytest.mark.data
def test_real_recordings_have_the_answers_of_eval(real_data: Path, tmp_path: Path) -> None:
    for name, settings in (
        ("nmnist", {}),
        ("poker-dvs", {"bin": "2ms", "crop": "34x34", "size": "17x17", "polarity": "merged"}),
    ):
        folder = data.where(name, real_data)
        if folder is None:
            pytest.skip(f"no {name} in {real_data}")
        config = DataConfig(name, str(real_data), str(tmp_path), time_steps=5, **settings)
        network = untrained(tmp_path, config)
        assert alike(network, real_data, cache=str(tmp_path), **settings) > 10


def test_own_steps_play_the_whole_recording(nmnist: tuple[Path, Path]) -> None:
    root, path = nmnist
    network, file = playing.network(path, {}), next(root.glob("NMNIST/Test/3/*.bin"))
    stream = reading.read(file, Asked(sensor=(34, 34)))
    played = Played(network, file, bin=7000)
    assert played.numbers.steps == int(stream.t[-1]) // 7000 + 1
    assert played.numbers.events == len(stream)
    labels = [moment.label for moment in played[:-1]]
    assert all(one != other for one, other in pairwise(labels)), "each answer is new"
    by_time = Played(network, file, bin=7000, every=50_000)
    assert [moment.time // 50_000 for moment in by_time[:-1]] == list(range(1, len(by_time)))
    assert by_time[-1].scores.tolist() == played[-1].scores.tolist()
    short = playing.network(path, {"bin": "10ms"})
    assert "and 6 frames of 10ms show the first 60,000" in " ".join(Played(short, file).remarks)


def test_whole_numbers_play(nmnist: tuple[Path, Path]) -> None:
    root, path = nmnist
    file = next(root.glob("NMNIST/Test/3/*.bin"))
    eight = playing.network(path, {}, bits=8)
    assert eight.plan.bits == 8
    assert Played(eight, file)[-1].step == 6


def test_a_data_set_says_what_its_files_do_not(tmp_path: Path) -> None:
    root = write_poker_dvs(tmp_path)
    config = DataConfig("poker-dvs", str(root), str(tmp_path / "frames"), time_steps=3)
    network = playing.network(untrained(tmp_path, config), {})
    assert network.classes == ("club", "heart", "diamond", "spade")
    assert Played(network, next(root.rglob("pips_test/sp/*.npy")))[-1].step == 3


# --- the command


def command(*words: object, given: bytes = b"", **more: Any) -> subprocess.CompletedProcess[bytes]:
    program = "import sys; from snnprune.cli import main; code = main(); assert 'torch' not in sys.modules; "
    return subprocess.run(
        [sys.executable, "-c", f"{program}sys.exit(code)", "run", *map(str, words)],
        input=given,
        capture_output=True,
        timeout=300,
        check=False,
        **more,
    )


def packed(file: Path) -> bytes:
    stream = reading.read(file, Asked(sensor=(34, 34)))
    records = np.empty(len(stream), playing.PACKED)
    for name in "txyp":
        records[name] = stream[name]
    records["t"] += 1_700_000_000_000_000
    return records.tobytes()


def test_events_come_by_a_pipe_as_from_the_file(listed: Path, nmnist: tuple[Path, Path]) -> None:
    """Both in a process that never imports torch."""
    file = next(nmnist[0].glob("NMNIST/Test/3/*.bin"))
    asked = (listed, "--bin", "10ms", "--every", "100ms", "--json")
    whole, live = command(*asked, file), command(*asked, "-", given=packed(file) + b"\1" * 5)
    assert (whole.returncode, whole.stderr) == (0, b"")
    assert live.returncode == 0
    assert live.stderr.decode() == (
        "snnprune: warning: the standard input ends within an event, of which 5 bytes were left out\n"
    )
    told = [json.loads(line) for line in whole.stdout.splitlines()]
    again = [json.loads(line) for line in live.stdout.splitlines()]
    assert told[:-1] == again[:-1]
    assert [line["time_us"] for line in told[:-1]] == [100_000, 200_000, 300_000]
    ending = told[-1]
    timed = ("seconds", "events_per_second", "times_real_time")
    assert all(ending.pop(name) > 0 and again[-1].pop(name) > 0 for name in timed)
    assert ending == again[-1]
    assert (ending["steps"], ending["events"], ending["bin_us"], ending["late"]) == (30, 400, 10_000, 0)
    assert ending["answer"]["score"] == max(ending["scores"])


def called(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = cli.main(["run", *map(str, words)])
    caught = capsys.readouterr()
    return code, caught.out, caught.err


def test_text(listed: Path, nmnist: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    file = next(nmnist[0].glob("NMNIST/Test/3/*.bin"))
    code, out, _ = called(capsys, listed, file)
    *answers, answer, steps, rate = out.splitlines()
    assert code == 0
    assert answers[0].endswith("step 1")
    assert answer.startswith("answer: class ")
    assert steps.startswith("6 steps of ")
    assert "400 events in " in steps
    assert rate.startswith("kept up with ")


def test_nobody_reads(listed: Path, nmnist: tuple[Path, Path], capfd: pytest.CaptureFixture[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    file = next(nmnist[0].glob("NMNIST/Test/3/*.bin"))
    done = subprocess.run(
        [sys.executable, "-m", "snnprune", "run", listed, file, "--every", "10ms"],
        stdout=write,
        stderr=subprocess.PIPE,
        timeout=300,
        check=False,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


def test_ctrl_c_ends_events_that_never_end(listed: Path, nmnist: tuple[Path, Path]) -> None:
    file = next(nmnist[0].glob("NMNIST/Test/3/*.bin"))
    playing_on = subprocess.Popen(
        [sys.executable, "-m", "snnprune", "run", listed, "-", "--bin", "10ms"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert playing_on.stdin is not None
    assert playing_on.stdout is not None
    playing_on.stdin.write(packed(file))
    playing_on.stdin.flush()
    first = playing_on.stdout.readline()
    playing_on.send_signal(signal.SIGINT)
    out, err = playing_on.communicate(timeout=300)
    assert first.endswith(b"step 1\n")
    assert (playing_on.returncode, err) == (0, b"")
    assert b"30 steps of 10 ms, 400 events in 300 ms" in out


WRONG = [
    ("nowhere FILE", "there is no file or folder nowhere"),
    ("NET nowhere.bin", "there is no file nowhere.bin: give a recording, or - for the standard input"),
    ("NET", "the following arguments are required: file"),
    ("NET FILE --bin fast", "--bin must be a whole number with its unit"),
    ("NET FILE --late count", "--late and --outside are for events from the standard input"),
    ("NET FILE --data.sensor 20x20", "is not a usable ATIS recording: its x must be from 0 to 19"),
    ("NET FILE --data.size 17x17", "would have the shape (2, 17, 17), and the network reads (2, 34, 34)"),
    ("NET FILE --data.crop 99x99", "is of a sensor of 34 x 34 pixels, which cannot be cropped to 99x99"),
    ("NET -", "and events from the standard input have no end that is known before: give --bin"),
    ("NET - --bin 10ms --data.hot_pixels remove", "hot pixels are found in whole recordings"),
    ("NET - --bin 10ms --data.size 17x17", "would have the shape (2, 17, 17)"),
    ("LIST FILE --bits 8", "holds weights of bits of its own: leave --bits out"),
    ("LIST NET", "is in no format that is read"),
    ("FILE FILE", "is no network that plays: expected the folder of a run"),
    ("OLD FILE", "it does not say how many pixels the sensor has: give --data.sensor"),
]


@pytest.mark.parametrize(("words", "said"), WRONG, ids=[words for words, _ in WRONG])
def test_what_cannot_be_played_is_a_sentence(
    words: str, said: str, listed: Path, nmnist: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    file = next(nmnist[0].glob("NMNIST/Test/3/*.bin"))
    stand_for = {"NET": nmnist[1], "LIST": listed, "FILE": file, "OLD": OLD_RUN}
    with Path(os.devnull).open() as nothing, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", nothing)
        code, out, err = called(capsys, *(stand_for.get(word, word) for word in words.split()))
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


Given = tuple[tuple[str, ...], list[tuple[int, ...]], str | None]


@pytest.mark.parametrize(
    "given",
    [
        ((), [], "no events came from the standard input"),
        ((), [(0, 0, 0, 1), (40_000, 0, 0, 1), (5, 0, 0, 1)], "event 3 is late: its time is 5 us"),
        ((), [(0, 34, 0, 1)], "event 1 has x 34, y 0 and p 1, outside of 34 x 34 pixels"),
        ((), [(0, 0, 0, 1), (2**62, 0, 0, 1)], "the time goes on to 4,611,686,018,427,387,904 us at event 2"),
        (("--late", "count"), [(0, 0, 0, 1), (40_000, 0, 0, 1), (5, 0, 0, 1)], None),
        (("--outside", "count"), [(0, 34, 0, 1), (7, 0, 0, 1)], None),
    ],
)
def test_events_that_come(
    given: Given, listed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked, records, said = given
    (tmp_path / "events").write_bytes(np.array(records, playing.PACKED).tobytes())
    with (tmp_path / "events").open() as events, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", events)
        code, out, err = called(capsys, listed, "-", "--bin", "10ms", "--json", *asked)
    if said is not None:
        assert code == 2
        assert said in err
        return
    assert (code, err) == (0, "")
    ending = json.loads(out.splitlines()[-1])
    assert ending["late"] + ending["outside"] == 1
    assert ending["answer"]["whole"]


def test_networks_of_images_are_refused(tmp_path: Path) -> None:
    shape = (1, 28, 28)
    config = RunConfig(DataConfig("mnist"), ModelConfig("conv-snn", hidden=9))
    network = build_network(config, shape, 10)
    text = replace(About(config, shape, 10, spiking=True)).text()
    export.save(network, tmp_path / "net", about=text)
    with pytest.raises(UserError, match=r"was trained on images \('mnist'\)"):
        playing.network(tmp_path / "net.safetensors", {})
