"""The table of other tools: cells follow from what was compared, and the document has the code that ran."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from benchmarks.elsewhere import table
from benchmarks.elsewhere.environments import AbsentError, python_of
from benchmarks.elsewhere.ways import LAVA, WAYS
from benchmarks.harness import ROOT
from snnprune.export.comparison import RoundTrip


def compared(*flipped: int) -> RoundTrip:
    """Compare 4 recordings of 5 steps: one spike of each layer, and others in so many of its places."""
    found, outputs = RoundTrip(), torch.eye(3)[[0, 1, 2, 0]].expand(5, 4, 3)
    mine, other = {}, {}
    for number, flips in enumerate(flipped):
        mine[f"{number}"] = torch.zeros(5, 4, 6)
        mine[f"{number}"][0, 0, 0] = 1
        other[f"{number}"] = mine[f"{number}"].clone()
        other[f"{number}"].view(-1)[1 : flips + 1] = 1
    found.add((outputs, mine), (outputs.roll(1, 1), other))
    return found


def test_a_cell_says_agree_where_no_spike_differs() -> None:
    way = replace(WAYS[0], options="--to nir --nir-dt 1")
    cells = [
        table.row(way, "7", found, ["0", "1"]) for found in (compared(0, 0), compared(0, 3), compared(0))
    ]
    assert cells == [
        (way.tool.name, "nir --nir-dt 1", "7", said, "3 of 4") for said in ("agree", "0 / 3", "0 / not seen")
    ]
    assert table.row(way, "7", "fails: no", ["0"])[3:] == ("fails: no", "")


def test_the_error_is_the_last_line_that_is_one() -> None:
    said = "Traceback (most recent call last):\n  File\nKeyError: 'pool1'\n  a: b\n"
    assert table._said(said) == "KeyError: 'pool1'"
    assert table._said("") == "no word"


@pytest.mark.parametrize("way", WAYS, ids=[f"{n}" for n, _ in enumerate(WAYS)])
def test_every_way_has_its_reader_and_stands_in_the_document(way: table.Way) -> None:
    assert (table.READERS / f"{way.tool.reader}.py").is_file()
    assert all("==" in pinned for pinned in way.tool.requirements)
    text = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    assert f"{way.code}\n" in text
    assert way.between in text
    assert f"| {way.tool.name} | {way.options.removeprefix('--to ')} |" in text


def test_a_tool_that_cannot_be_installed_says_why(tmp_path, monkeypatch) -> None:
    def refused(*_words: str) -> None:
        raise AbsentError("No matching distribution found")

    monkeypatch.setattr("benchmarks.elsewhere.environments._called", refused)
    with pytest.raises(AbsentError, match="No matching distribution"):
        python_of(tmp_path, LAVA.requirements, torch=False)
    assert not list(tmp_path.glob("*/complete"))
