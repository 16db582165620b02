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


def engine_of(subject: Subject) -> Engine | str:
    """Return an engine of one thread for the network of ``subject``, or why there is none."""
    if subject.model is None:
        return "its file is run as it is"
    try:
        return Engine(plan(subject.model, subject.example(), over_time=subject.config.train.over_time))
    except UserError as error:
        return str(error)


def event_driven(subject: Subject) -> Subject | str:
    """Return ``subject`` with its event-driven network in place of its own, or why there is none."""
    engine = engine_of(subject)
    if isinstance(engine, str):
        return engine
    return replace(subject, outputs=outputs(engine), device=torch.device("cpu"), model=None, imported=None)


def engine_of_grid(grid: Quantised) -> Engine | None:
    """Return an engine that computes with the whole numbers of ``grid``; None where there is no plan."""
    try:
        return Engine(of_grid(grid))
    except UserError:
        return None
