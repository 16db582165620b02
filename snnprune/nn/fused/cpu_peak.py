"""The maximum pool of spikes: 1 if a neuron of the window fires. The first one that does gets the gradient.

Windows may overlap and stand over the rim. Of each window one byte is kept: the place at which the maximum
was found, counted row by row; the first place inside the image if no neuron fires, as PyTorch decides it.
"""
# ruff: noqa: D417, PLR0917 - a kernel is given arrays and numbers one by one

from __future__ import annotations

from snnprune.common.compiling import compiled

NOWHERE = 255
"""No place of a window: its largest side is 15."""


@compiled
def pack(spikes, to):  # type: ignore[no-untyped-def]
    """Write spikes as bytes."""
    for i in range(spikes.size):
        to[i] = 1 if spikes[i] > 0 else 0


@compiled
def inside(out, length, dy, stride, padding):  # type: ignore[no-untyped-def]
    """Return from which window to which, of ``out``, its place ``dy`` is inside an image of ``length``."""
    low = max(0, -((dy - padding) // stride))
    high = min(out, (length - 1 - dy + padding) // stride + 1)
    return low, high


@compiled
def peaks(fired, s, won, height, width, inner, window):  # type: ignore[no-untyped-def]
    """Write the maxima ``s`` of the spikes of a plane, [H' x W' x I], and where each was found to ``won``.

    Args:
        fired: bytes, [H x W x I].
        s: maxima.
        won: places in the windows.
        height, width, inner: of the plane.
        window: side, stride and padding of the windows; H' and W'.
    """
    side, stride, padding, rows, columns = window
    for y in range(rows):
        line = won[y * columns * inner : (y + 1) * columns * inner]
        line[:] = NOWHERE
        for dy in range(side):
            at_y = y * stride - padding + dy
            if at_y < 0 or at_y >= height:
                continue
            for dx in range(side):
                low, high = inside(columns, width, dx, stride, padding)
                place = won.dtype.type(dy * side + dx)
                if inner == 1:
                    start = at_y * width - padding + dx
                    for j in range(low, high):
                        if line[j] == NOWHERE and fired[start + j * stride]:
                            line[j] = place
                else:
                    for j in range(low, high):
                        of = fired[(at_y * width + j * stride - padding + dx) * inner :]
                        to = line[j * inner : (j + 1) * inner]
                        for c in range(inner):
                            to[c] = place if (to[c] == NOWHERE) & (of[c] > 0) else to[c]
        top = max(0, padding - y * stride)
        for j in range(columns):
            left = max(0, padding - j * stride)
            place = won.dtype.type(top * side + left)
            to, out = line[j * inner : (j + 1) * inner], s[(y * columns + j) * inner :]
            for c in range(inner):
                out[c] = 0 if to[c] == NOWHERE else 1
                to[c] = place if to[c] == NOWHERE else to[c]


@compiled
def spread_peaks(g, won, out, top, bottom, width, inner, window):  # type: ignore[no-untyped-def]
    """Give each neuron of rows ``top`` to ``bottom`` the gradients of the windows whose maximum it is.

    Args:
        g: gradients of the maxima of a plane, [H' x W' x I].
        won: from `peaks`.
        out: gradients of the spikes to write, [rows x W x I].
        top, bottom: the rows.
        width, inner: of the plane.
        window: as in `peaks`.
    """
    side, stride, padding, rows, columns = window
    out[:] = 0
    for y in range(rows):
        for dy in range(side):
            at_y = y * stride - padding + dy
            if at_y < top or at_y >= bottom:
                continue
            for dx in range(side):
                low, high = inside(columns, width, dx, stride, padding)
                place = won.dtype.type(dy * side + dx)
                base, from_y = (at_y - top) * width - padding + dx, y * columns
                if inner == 1:
                    for j in range(low, high):
                        if won[from_y + j] == place:
                            out[base + j * stride] += g[from_y + j]
                else:
                    for j in range(low, high):
                        of, where = g[(from_y + j) * inner :], won[(from_y + j) * inner :]
                        to = out[(base + j * stride) * inner : (base + j * stride + 1) * inner]
                        for c in range(inner):
                            to[c] += of[c] if where[c] == place else g.dtype.type(0)
