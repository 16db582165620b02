"""What formats of event files do: written and read back, cut anywhere, or no such file at all."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snnprune.common.errors import UserError
from snnprune.data.events.reading import FORMATS, read
from snnprune.data.events.stream import Asked
from support import event_files
from support.event_files import WRITERS, Writer

if TYPE_CHECKING:
    from pathlib import Path

    from snnprune.data.events.stream import Stream

OWN = ("Prophesee RAW", "Prophesee DAT", "ATIS")
"""Formats whose files have a size for each event, so that a cut is seen. Others: test_event_tables.py."""

EACH = [writer for title in OWN for writer in WRITERS[title]]


def same(found: Stream, expected: Stream) -> bool:
    return all(np.array_equal(found[name], expected[name]) for name in "txyp")


@st.composite
def streams(draw: st.DrawFn, writer: Writer) -> Stream:
    """Draw events of any times in order, on a sensor of any size."""
    width, height = (size if writer.only else draw(st.integers(1, size)) for size in writer.sensor)
    gaps = st.one_of(st.integers(0, 3), st.integers(0, 20_000), st.integers(0, writer.gap))
    column, row = (
        st.one_of(st.integers(0, min(size, 40) - 1), st.integers(0, size - 1)) for size in (width, height)
    )
    events = draw(st.lists(st.tuples(gaps, column, row, st.booleans()), min_size=1, max_size=40))
    gap, x, y, p = zip(*events, strict=True)
    t = np.minimum(np.cumsum(np.array(gap, np.int64)), 1 << 41)
    return event_files.stream(t, x, y, p, (width, height))


def read_or_refused(path: Path, asked: Asked) -> Stream | None:
    """Return the events, or None where a sentence that names the file refuses them."""
    with contextlib.suppress(UserError):
        return read(path, asked)
    with pytest.raises(UserError, match=re.escape(str(path))) as refused:
        read(path, asked)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 500
    return None


def test_every_format_has_writers_and_every_writer_a_format() -> None:
    assert {known.title for known in FORMATS} == set(WRITERS)
    for known in FORMATS:
        assert {writer.suffix for writer in WRITERS[known.title]} & set(known.suffixes)


@pytest.mark.parametrize("writer", EACH, ids=str)
def test_any_events_are_read_as_they_were_written(writer: Writer, tmp_path: Path) -> None:
    path = tmp_path / f"recording{writer.suffix}"

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(streams(writer))
    def each(events: Stream) -> None:
        writer.write(path, events)
        found = read(path, writer.said(events.sensor))
        assert same(found, events)
        assert (found.sensor, found.disordered, found.remarks) == (events.sensor, 0, ())

    each()


@pytest.mark.parametrize("writer", EACH, ids=str)
def test_a_file_cut_at_any_byte_is_read_as_far_as_it_goes(writer: Writer, tmp_path: Path) -> None:
    events = event_files.drawn(12, writer.sensor if writer.only else (200, 180), gap=3_000)
    path = tmp_path / f"recording{writer.suffix}"
    writer.write(path, events)
    whole, read_before = path.read_bytes(), 0
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        found = read_or_refused(path, writer.said(events.sensor))
        if found is None:
            assert not read_before
            continue
        assert same(found, events.picked(slice(len(found))))
        assert read_before <= len(found) <= len(events)
        read_before = len(found)
    assert read_before >= len(events) - 12


@pytest.mark.parametrize("suffix", [suffix for known in FORMATS for suffix in known.suffixes])
@pytest.mark.parametrize(
    "content", [b"", b"\0", b"% ", b"% end\n", b"\n", b"\xff" * 999, bytes(999), b"% " * 99_999]
)
def test_what_is_no_such_file_is_refused_in_a_sentence(suffix: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"recording{suffix}"
    path.write_bytes(content)
    found = read_or_refused(path, Asked(sensor=(256, 256)))
    assert found is None or suffix == ".bin"  # any five bytes are an event where there is no header


@pytest.mark.parametrize("suffix", [suffix for known in FORMATS for suffix in known.suffixes])
def test_what_is_not_there_or_a_folder_is_named(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"recording{suffix}"
    with pytest.raises(UserError, match="No such file"):
        read(path, Asked())
    path.mkdir()
    with pytest.raises(UserError, match=r"regular file|folder"):
        read(path, Asked())
