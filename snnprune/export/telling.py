"""What a network answers while it plays, as lines of text or of JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from snnprune.common.console import lasting, legible

if TYPE_CHECKING:
    from collections.abc import Callable

    from snnprune.export.playing import Moment, Played

LEFT_OUT = {
    "late": "came late, and were left out",
    "outside": "lie outside of the sensor, and were left out",
    "unseen": "are of pixels or polarities that frames do not show",
    "full": "counts of 255 or more events in one cell stay at 255",
}
"""What is said of events by why they do not count, behind their number."""


class Teller:
    """Writes lines: what is answered as the events play, and at the end what was played.

    Args:
        classes: names of the classes.
        write: takes a line with its end.
        as_json: whether each line is a JSON object.
    """

    def __init__(self, classes: tuple[str, ...], write: Callable[[str], None], *, as_json: bool) -> None:
        self.classes, self.write, self.as_json = classes, write, as_json
        self.finals: list[Moment] = []

    def tell(self, moment: Moment) -> None:
        """Write what is answered; keep it, if it is the answer to a whole sample."""
        if moment.last:
            self.finals.append(moment)
        if moment.last and moment.samples == 1:
            return  # it is told at the end
        if self.as_json:
            self._object({"time_us": moment.time, **self._answered(moment)})
        else:
            whole = f", of window {moment.sample + 1}" if moment.last else ""
            self.write(f"{lasting(moment.time):>9}  {self._said(moment)}{whole}\n")

    def end(self, played: Played) -> None:
        """Write the answer, steps, events, and the rate that was kept up with."""
        final = self.finals[-1] if self.finals else None
        rate = played.events / played.seconds if played.seconds else 0.0
        ahead = played.span * 1e-6 / played.seconds if played.seconds else 0.0
        if self.as_json:
            self._object(
                {
                    "answer": None if final is None else self._answered(final),
                    "scores": None if final is None else final.scores.tolist(),
                    "samples": len(self.finals),
                    "steps": played.steps,
                    "bin_us": float(played.bin),
                    "events": played.events,
                    "span_us": played.span,
                    **(played.left_out or {}),
                    "seconds": played.seconds,
                    "events_per_second": rate,
                    "times_real_time": ahead,
                }
            )
            return
        lines = [] if final is None else [f"answer: {self._said(final)}"]
        lines.append(
            f"{played.steps:,} step{'s' * (played.steps != 1)} of {lasting(float(played.bin))}, "
            f"{played.events:,} events in {lasting(played.span)}"
        )
        lines += [f"{many:,} {LEFT_OUT[why]}" for why, many in (played.left_out or {}).items() if many]
        lines.append(f"kept up with {rate:,.0f} events a second of computing, {ahead:,.1f} times real time")
        self.write("\n".join(lines) + "\n")

    def _answered(self, moment: Moment) -> dict[str, Any]:
        return {
            "sample": moment.sample,
            "step": moment.step,
            "class": moment.label,
            "name": self.classes[moment.label],
            "score": float(moment.scores[moment.label]),
            "whole": moment.last,
        }

    def _said(self, moment: Moment) -> str:
        name, number = legible(self.classes[moment.label]), str(moment.label)
        called = number if name == number else f"{number} ({name})"
        return f"class {called}, score {moment.scores[moment.label]:.3g}, step {moment.step}"

    def _object(self, fields: dict[str, Any]) -> None:
        self.write(json.dumps(fields) + "\n")
