"""One recording as frames, the spikes that it causes, and the prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, to_rgba

from snnprune.report.picture import Missing, Picture, canvas
from snnprune.report.style import FAINT, INK, clipped, tidy
from snnprune.runs.tensors import is_sound

if TYPE_CHECKING:
    from collections.abc import Iterable

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from numpy.typing import NDArray

    from snnprune.runs.reading import Run
    from snnprune.runs.tensors import AboutExample, Example

ON, OFF = "#2f8fd0", "#e0702a"
"""Brighter and darker. Both are legible on a light and on a dark page, since pixels are not recoloured."""

ACROSS = 5
"""Frames in a row."""

MOST = 4
"""Most layers shown besides the output. If there are more, the first ones are shown."""

RATE = "spikes a step"
"""Unit of the scores of an output that spikes."""

SPIKES = LinearSegmentedColormap.from_list("spikes", [to_rgba(ON, 0), to_rgba(ON, 1)])


def recording(run: Run) -> Picture | Missing:
    """Return the picture."""
    if run.example is None:
        return Missing("A recording, its spikes and the answer", "example.safetensors")
    example, about = run.example, run.example.about
    label, answer = (clipped(about.classes[each]) for each in (about.label, about.answer))
    rate = float(example.tensors["scores"][about.answer])
    how = f"output rate {rate:.2f} spikes a step" if _unit(about) == RATE else f"{_unit(about)} {rate:.2f}"
    right = "right" if about.label == about.answer else f"wrong: it is {label}"
    on = f"{len(example.tensors['frames'])} of its {about.time_steps} frames" if about.events else "the image"
    return Picture(
        "recording",
        "A recording, its spikes and the answer" if about.events else "A sample, its spikes and the answer",
        "The first sample of the test set. "
        + (_said_of_frames(example) if about.events else "")
        + (
            "Below, spikes of each layer over time, a row for each channel (averaged over its places) or "
            "neuron. "
            if about.spiking
            else "Below, the activity of each layer. "
        )
        + f"Answer: {answer} ({right}).",
        f"The first test sample, of class {label}: {on}, and the activity of "
        f"{len(about.neurons)} layers. The network answers {answer} ({how}), which is {right}.",
        lambda: _draw(example),
    )


def _said_of_frames(example: Example) -> str:
    if _is_whole_sound(example):
        return "Above, the events of each channel over time. "
    return "Blue: brighter, orange: darker. "


def _is_whole_sound(example: Example) -> bool:
    """Tell whether all frames of a sound were kept; runs of earlier versions have some of them."""
    frames = example.tensors["frames"]
    return is_sound(frames.shape) and len(frames) == example.about.time_steps


def _unit(about: AboutExample) -> str:
    """Return what the scores of the classes are."""
    return "potential" if about.readout is not None else RATE if about.spiking else "logit"


def _draw(example: Example) -> Figure:
    about, frames = example.about, example.tensors["frames"]
    names = about.neurons
    output = _of_output(example)
    layers = [name for name in names if name != output][:MOST]
    rows = -(-len(frames) // ACROSS)
    tall = 0.14 * len(about.classes) + 0.5
    sound = _is_whole_sound(example)
    heights = [1.6 if sound else 0.82 * rows if len(frames) > 1 else 1.3, max(0.75 * len(layers), 0.01), tall]
    figure = canvas(sum(heights) + 0.45)
    parts: Any = figure.subfigures(3, 1, height_ratios=heights)
    upper, middle, lower = parts
    for part in parts:
        part.set_facecolor("none")
    if sound:
        _channels(upper.subplots(), frames[:, 0, 0])
    else:
        _frames(upper.subplots(rows, min(ACROSS, len(frames)), squeeze=False).flat, example)
    panels = middle.subplots(len(layers), 1, squeeze=False)[:, 0] if layers else []
    for axes, name in zip(panels, layers, strict=True):
        _activity(axes, name, example.tensors[f"activity/{name}"], about.spiking)
    _output(lower, example, output)
    return figure


def _of_output(example: Example) -> str | None:
    """Return the name of the layer whose units are the classes; None if its activity was not kept."""
    about = example.about
    name = about.readout or (about.neurons[-1] if about.spiking and about.neurons else None)
    fits = name is not None and example.tensors[f"activity/{name}"].shape[1] == len(about.classes)
    return name if fits else None


def _channels(axes: Axes, counts: NDArray[np.uint8]) -> None:
    """Draw the events of sound, [T, channels]; the lowest channel is at the bottom."""
    steps, channels = counts.shape
    axes.imshow(
        counts.T,
        cmap=SPIKES,
        vmin=0,
        vmax=max(int(counts.max()), 1),
        aspect="auto",
        interpolation="nearest",
        origin="lower",
        extent=(0.5, steps + 0.5, 0.5, channels + 0.5),
    )
    axes.set_title(f"{channels} channels, {int(counts.sum()):,} events", loc="left", fontsize=6.5, pad=2)
    axes.set(yticks=[1, channels] if channels > 1 else [1], xticks=[])
    axes.spines[:].set_color(FAINT)


def _frames(panels: Iterable[Any], example: Example) -> None:
    frames, steps = example.tensors["frames"], example.tensors["steps"]
    most = max(float(np.quantile(frames[frames > 0], 0.98)) if (frames > 0).any() else 1.0, 1.0)
    for i, axes in enumerate(panels):
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_color(FAINT)
        if i >= len(frames):
            axes.set_visible(False)
            continue
        axes.imshow(picture_of(frames[i], most, events=example.about.events), interpolation="nearest")
        if example.about.events:
            axes.set_title(f"t = {steps[i] + 1}", fontsize=6.5, pad=2)


def picture_of(frame: NDArray[np.uint8], most: float, *, events: bool) -> NDArray[np.floating]:
    """Return a frame [P, H, W] as RGBA [H, W, 4]. A pixel with more events is more opaque."""
    if not events:
        colours = frame if frame.shape[0] == 3 else np.repeat(frame[:1], 3, 0)
        return np.concatenate([colours, np.full_like(colours[:1], 255)]).transpose(1, 2, 0) / 255.0
    amount = np.minimum(frame[:2] / most, 1.0)
    if len(amount) == 1:
        amount = np.concatenate([amount, np.zeros_like(amount)])
    # The second polarity is the brighter one, as in the recordings' own format.
    shades = np.array([to_rgba(OFF)[:3], to_rgba(ON)[:3]])
    total = amount.sum(0)
    mixed = np.einsum("phw,pc->hwc", amount, shades) / np.where(total > 0, total, 1.0)[..., None]
    return np.concatenate([mixed, np.minimum(total, 1.0)[..., None]], axis=2)


def _activity(axes: Axes, name: str, activity: NDArray[np.floating], spiking: bool) -> None:
    steps, units = activity.shape
    extent = (0.5, steps + 0.5, units + 0.5, 0.5)
    shown = activity.T / max(float(activity.max()), 1e-9)
    axes.imshow(shown, cmap=SPIKES, vmin=0, vmax=1, aspect="auto", interpolation="nearest", extent=extent)
    axes.set_title(
        f"{clipped(name)}: {units} units, {(activity > 0).mean():.0%} active", loc="left", fontsize=6.5, pad=2
    )
    axes.set(yticks=[1, units] if units > 1 else [1], xticks=[])
    axes.spines[:].set_color(FAINT)
    if not spiking:
        axes.set_xlabel("one step")


def _output(part: SubFigure, example: Example, name: str | None) -> None:
    about, scores = example.about, example.tensors["scores"]
    classes = [clipped(each, 14) for each in about.classes]
    ticks = range(len(classes))
    if name is None:
        axes = part.subplots()
    else:
        raster, axes = part.subplots(1, 2, sharey=True, width_ratios=[2.2, 1])
        spikes = example.tensors[f"activity/{name}"]
        steps, units = spikes.shape
        extent = (0.5, steps + 0.5, units - 0.5, -0.5)
        above = about.readout is not None  # a potential is shown where it is above rest, up to its largest
        most = max(float(spikes.max()), 1e-9) if above else 1
        raster.imshow(
            spikes.T, cmap=SPIKES, vmin=0, vmax=most, aspect="auto", interpolation="nearest", extent=extent
        )
        raster.set(xlabel="time step")
        raster.set_title(
            f"{clipped(name)}: {'potentials above rest' if above else 'spikes of the output'}",
            loc="left",
            fontsize=6.5,
            pad=2,
        )
        raster.spines[:].set_color(FAINT)
        raster.set_yticks(ticks, classes, fontsize=6.5)
        axes.tick_params(axis="y", labelleft=False)
    colours = [ON if i == about.answer else FAINT for i in ticks]
    axes.barh(ticks, scores, color=colours, height=0.7)
    axes.axvline(0, color=INK, linewidth=0.6)
    axes.set_xlabel(_unit(about))
    axes.set_ylim(len(classes) - 0.5, -0.5)
    if name is None:
        axes.set_yticks(ticks, classes, fontsize=6.5)
    tidy(axes, grid=False)
