"""The event-driven network in place of a torch network."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from snnprune.common.errors import UserError
from snnprune.engine.engine import Engine
from snnprune.export.engine_run import outputs
from snnprune.export.planning import of_grid, plan

if TYPE_CHECKING:
    from snnprune.export.quantisation import Quantised
    from snnprune.export.subject import Subject


def event_driven(subject: Subject) -> Subject | str:
    """Return ``subject`` with its event-driven network, of one thread, in place of its own, or why not."""
    if subject.model is None:
        return "its file is run as it is"
    try:
        engine = Engine(plan(subject.model, subject.example(), over_time=subject.config.train.over_time))
    except UserError as error:
        return str(error)
    return replace(subject, outputs=outputs(engine), device=torch.device("cpu"), model=None, imported=None)


def engine_of_grid(grid: Quantised) -> Engine | None:
    """Return an engine that computes with the whole numbers of ``grid``; None where there is no plan."""
    try:
        return Engine(of_grid(grid))
    except UserError:
        return None
