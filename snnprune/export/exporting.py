"""Write the compact network of a run for chips and runtimes, read it back, and compare it on recordings."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rich.console import Console

from snnprune.common.console import say
from snnprune.common.errors import UserError
from snnprune.engine import plan_file
from snnprune.export import c_file, connections, nir_file, onnx_file, save
from snnprune.export.comparison import RoundTrip, spiking_run
from snnprune.export.demand import BUDGETS, budgets, check, demand, shown
from snnprune.export.finding import find
from snnprune.export.graph import folded
from snnprune.export.quantisation import Quantised, quantise

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor, nn

    from snnprune.data import Splits
    from snnprune.export.subject import Subject

SAMPLES = 500
"""Test recordings for the comparison: enough to see one flip in a million spikes."""

FILES = {
    "nir": "model.nir",
    "onnx": "model.onnx",
    "safetensors": "model.safetensors",
    "csr": "csr.safetensors",
    "c": "model.c",
}
"""Names of the files by format."""

EXACT = {
    "nir": "because `snnprune eval` tells the format by it",
    "onnx": "because `snnprune eval` tells the format by it",
    "csr": "because `snnprune eval` and `run` tell the format by it",
    "c": "as compilers expect; its header is written beside it",
}
"""Formats whose files must end as in `FILES`, and why."""


def export(
    path: Path,
    to: str | None = None,
    out: Path | None = None,
    *,
    data: Mapping[str, Any] | None = None,
    samples: int | None = None,
    bits: int | None = None,
    bin: str | None = None,  # noqa: A002 - the name of the option
    form: nir_file.Form | None = None,
    chips: Path | None = None,
    splits: Splits | None = None,
) -> dict[str, Any]:
    """Write the compact network of a run, check the file, and print what the network needs on a chip.

    Args:
        path: folder of a finished run, or a compact network (.safetensors).
        to: "nir", "onnx", "safetensors", "csr" or "c"; None writes nothing.
        out: the file; by default export/model.nir and the like in the folder of ``path``.
        data: settings of `DataConfig` that replace those of the run.
        samples: number of test recordings to compare on; `SAMPLES` by default.
        bits: of the weights of "csr" and "c"; floats by default.
        bin: time step of "c", such as "10ms"; by default that of the run's frames.
        form: of the file of "nir", for tools that do not read all that NIR can say.
        chips: a file of budgets in addition to those of the package.
        splits: the data, if they were made by hand; ``data`` then says how they are encoded.

    Returns:
        "file" and "bytes", "round_trip" as `RoundTrip.report` returns it, "demand" and "chips".

    Raises:
        UserError: no compact network at ``path``, a layer that the format cannot hold, data that cannot be
            read, an option that the format does not use, or a file that cannot be written.
    """
    if bits is not None and to not in ("csr", "c"):
        raise UserError(
            "--bits goes with --to csr and --to c: the other formats hold floats (`snnprune eval --bits`)"
        )
    if bin is not None and to != "c":
        raise UserError("--bin goes with --to c: the other formats hold no time step")
    if form is not None and to != "nir":
        raise UserError("--nir-dt, --nir-r, --nir-pool and --nir-neurons go with --to nir")
    samples = SAMPLES if samples is None else samples
    if samples < 1:
        raise UserError(f"--samples must be at least 1, and is {samples}")
    offered = budgets(BUDGETS) | ({} if chips is None else budgets(chips))
    subject = find(path, data or {}, "cpu", compact=True, splits=splits)
    if subject.model is None:
        raise UserError(f"{path} is an export already: give the run, or its .safetensors file")
    layers = demand(subject.model, subject.example(1))
    verdicts = check(layers, offered)
    result: dict[str, Any] = {
        "demand": [asdict(layer) for layer in layers],
        "chips": [{**asdict(verdict), "verdict": verdict.verdict} for verdict in verdicts],
    }
    console = Console()
    if to is not None:
        folder = path if path.is_dir() else path.parent
        file = folder / "export" / FILES[to] if out is None else out
        if file.resolve() == path.resolve():
            raise UserError(
                f"{file} is the network to export, and would be overwritten: choose another --out"
            )
        ending = Path(FILES[to]).suffix
        if to in EXACT and file.suffix != ending:
            raise UserError(f"{file} must end in {ending}, {EXACT[to]}")
        if to == "csr":
            written, said = _connections(subject, subject.model, file, bits)
        elif to == "c":
            asked = c_file.Asked(bits, bin)
            recordings = _recordings(subject, samples)
            written, said = c_file.export(subject, subject.model, file, recordings, asked)
        else:
            written, said = _network(subject, subject.model, (to, file), samples, form)
        result |= written
        say(console, f"{written['file']}: {written['bytes']:,} bytes\n{said}\n")
    say(console, shown(layers, verdicts))
    return result


def _network(
    subject: Subject,
    model: nn.Module,
    wanted: tuple[str, Path],
    samples: int,
    form: nir_file.Form | None,
) -> tuple[dict[str, Any], str]:
    """Write a network to a file, read it back and compare. Return the result, and the same as a sentence."""
    to, file = wanted
    example = subject.example(1)
    if to == "nir":
        nir_file.write(model, example, file, subject.about(), form=form, facts=subject.facts())
        other = nir_file.spiking_run(nir_file.read(file)[0], model)
    elif to == "onnx":
        onnx_file.write(model, example, file, subject.about())
        other = onnx_file.Runner.of(file, spikes=subject.spiking)
    else:
        save(model, file, subject.about())
        file = file.with_name(file.name.removesuffix(".safetensors") + ".safetensors")
        again = find(file, {}, "cpu", splits=subject.splits).model
        assert again is not None
        other = spiking_run(again)
    mine, found = spiking_run(model), RoundTrip(subject.config.train.over_time)
    with torch.inference_mode():
        for frames, labels in _labelled(subject, samples):
            found.add(mine(frames), other(frames), labels)
    return {"file": str(file), "bytes": file.stat().st_size, "round_trip": found.report()}, str(found)


def _recordings(subject: Subject, samples: int) -> Iterator[Tensor]:
    """Yield the encoded samples of `_labelled`."""
    return (frames for frames, _ in _labelled(subject, samples))


def _labelled(subject: Subject, samples: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield ``samples`` encoded test samples, evenly spread, because the set may be sorted by class."""
    test, size = subject.splits.test, subject.config.train.batch_size
    chosen = np.linspace(0, len(test) - 1, min(samples, len(test))).round().astype(np.int64)
    for number, start in enumerate(range(0, len(chosen), size)):
        frames, labels = test.__getitems__(chosen[start : start + size].tolist())
        yield subject.encode(frames, number), labels


def _connections(
    subject: Subject, model: nn.Module, file: Path, bits: int | None
) -> tuple[dict[str, Any], str]:
    """Write the list of alive synapses, read it back and compare weight by weight."""
    network: nn.Module | Quantised = model if bits is None else quantise(model, subject.example(), bits)
    connections.write(network, file, subject.example(1), **subject.kept())
    read, differ, alive = connections.read(file), 0, 0
    if isinstance(network, Quantised):
        own = {name: network.layers[name].values for name in read}
    else:
        dense = folded(network)
        own = {name: dense.get_submodule(name).get_parameter("weight") for name in read}
    for name, weight in read.items():
        mine = own[name].detach().numpy()
        differ += int((mine != weight.astype(mine.dtype).reshape(mine.shape)).sum())
        alive += int(np.count_nonzero(weight))
    result = {"file": str(file), "bytes": file.stat().st_size, "synapses": alive, "weights_differ": differ}
    said = f"read back: {alive:,} connections, {differ} weights differ"
    try:
        plan_file.read(file)
    except UserError as error:
        result["no_plan"] = str(error)
        said += f"; {error}"
    return result, said
