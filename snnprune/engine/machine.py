"""The compiled interpreter: one call computes samples with all their steps, or one step of a stream."""
# ruff: noqa: PLR0917, PLR0912, C901 - the arguments and branches of a kernel
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from snnprune.engine import firing, moving, scattering
from snnprune.engine.compiling import inlined, kernel
from snnprune.engine.pointers import clear, pointer
from snnprune.engine.reading import read_frame
from snnprune.engine.table import Kind, Model

ROWS, SYNAPSES, PRODUCT, LOAD = int(Kind.ROWS), int(Kind.SYNAPSES), int(Kind.PRODUCT), int(Kind.LOAD)
COLLECT, FIRE, SCAN, SPREAD = int(Kind.COLLECT), int(Kind.FIRE), int(Kind.SCAN), int(Kind.SPREAD)
POOL, SUM, NORM, INTEGRATE = int(Kind.POOL), int(Kind.SUM), int(Kind.NORM), int(Kind.INTEGRATE)
PERMUTE, DELAY, ROUND, WHOLE = int(Kind.PERMUTE), int(Kind.DELAY), int(Kind.ROUND), int(Model.WHOLE)

_rows, _rows_of_all, _synapses, _synapses_of_all, _product, _product_of_all = (
    scattering.rows, scattering.rows_of_all, scattering.synapses, scattering.synapses_of_all,
    scattering.product, scattering.product_of_all,
)  # fmt: skip
_line, _lines_at = scattering.line, moving.lines
_fire, _begin, _charge, _emit = firing.fire, firing.begin, firing.charge, firing.emit
_end, _settle = firing.end, firing.settle
_load, _collect, _scan, _spread = moving.load_currents, moving.collect, moving.scan, moving.spread
_listed, _pool, _add, _normalise, _integrate = (
    moving.listed,
    moving.pool,
    moving.add,
    moving.normalise,
    moving.integrate,
)
_integrate_whole, _permute, _delay, _round = (
    moving.integrate_whole, moving.permute, moving.delay, moving.round_numbers
)  # fmt: skip


@inlined
def _compute(op, step, w, k, x, e, b, n):
    """Compute one operation of one step."""
    kind = op.kind
    if kind == ROWS:
        _rows(op, step, w, k, x, e)
    elif kind == SYNAPSES:
        _synapses(op, step, w, k, x, e)
    elif kind == FIRE:
        _fire(op, step, w, k, x, e, b, n)
    elif kind == PRODUCT:
        _product(op, step, w, x)
    elif kind == LOAD:
        _load(op, step, x)
    elif kind == COLLECT:
        _collect(op, step, w, x)
    elif kind == SCAN:
        _scan(op, step, x, e)
    elif kind == SPREAD:
        _spread(op, step, x, e)
    elif kind == POOL:
        _pool(op, step, w, k, x)
    elif kind == SUM:
        _add(op, step, k, x)
    elif kind == NORM:
        _normalise(op, step, w, x)
    elif kind == INTEGRATE:
        if op.model == WHOLE:
            _integrate_whole(op, step, w, x, n)
        else:
            _integrate(op, step, w, x)
    elif kind == PERMUTE:
        _permute(op, step, k, x)
    elif kind == DELAY:
        _delay(op, x, e)
    elif kind == ROUND:
        _round(op, step, x, e)


@kernel
def _lines(op, neurons, steps, w, k, x, e, b, n):
    """Compute all steps of a convolution and its neurons line by line: what a line needs stays near."""
    for step in range(steps):
        _begin(neurons, step, w, x, e, b, n)
    apart = op.line_step
    for y in range(neurons.to_height):
        for begin in range(0, steps, op.together):
            some = min(op.together, steps - begin)
            for step in range(some):
                _line(op, begin + step, y, op.currents + step * apart, w, k, x, e)
            _charge(neurons, begin, some, y, neurons.currents, apart, w, x, b, n)
            for step in range(begin, begin + some):
                _emit(neurons, step, y, w, k, x, e, b)


@kernel
def run(table, steps, w, k, x, e, b, n):
    """Compute some steps of one sample; lists or dense numbers of its input are already there."""
    w, k, x, e, b, n = pointer(w), pointer(k), pointer(x), pointer(e), pointer(b), pointer(n)
    first, many = 0, len(table)
    while first < many:
        last = first + 1
        while last < many and table[last].chained:
            last += 1
        op = table[first]
        if op.kind <= SYNAPSES:
            for step in range(steps):
                n[op.node] += _listed(e, op.starts + step * op.starts_step)
        if op.wide and op.kind == ROWS and op.merged:
            _rows_of_all(op, steps, w, k, x, e)
        elif op.wide and op.kind == ROWS:
            _lines(op, table[first + 1], steps, w, k, x, e, b, n)
        elif op.wide and op.kind == SYNAPSES:
            _synapses_of_all(op, steps, w, k, x, e, b)
        elif op.wide:
            _product_of_all(op, steps, w, x)
        else:
            for step in range(steps):
                for i in range(first, last):
                    _compute(table[i], step, w, k, x, e, b, n)
        for i in range(first, last):
            if table[i].kind == FIRE:
                _end(table[i], steps, x, n)
        first = last


@kernel
def rest(table, w, x, e, b, n):
    """Bring a sample to rest."""
    w, x, e, b, n = pointer(w), pointer(x), pointer(e), pointer(b), pointer(n)
    for i in range(len(table)):
        op = table[i]
        if op.kind == FIRE:
            _settle(op, w, x, b, n)
        elif op.kind == INTEGRATE and op.model == WHOLE:
            clear(n, op.potentials, op.size)
        elif op.kind == INTEGRATE:
            clear(x, op.potentials, op.size)
        elif op.kind == DELAY:
            if op.to_dense >= 0:
                clear(x, op.to_dense, op.size)
            if op.to_addresses >= 0:
                clear(e, _lines_at(op.to_starts, op.height), op.height + 4)


@kernel
def answer(
    counts, numbers, sample_from, apart, outputs, block, table, source, output,
    w, k, x, e, b, n,
):  # fmt: skip
    """Compute outputs [T, B, K] of frames [T, B, C, H, W], in one row; tell whether all of them are finite.

    The frames are ``counts``, uint8, or else ``numbers``, of the dtype of ``x``.

    Of the samples it takes one, and then each that lies a number further.
    """
    finite = True
    length, many, size = outputs.shape
    for sample in range(sample_from, many, apart):
        rest(table, w, x, e, b, n)
        for begin in range(0, length, block):
            steps = min(block, length - begin)
            for step in range(steps):
                at = ((begin + step) * many + sample) * source[0].size
                if len(counts):
                    read_frame(counts, at, source[0], step, x, e)
                else:
                    finite &= read_frame(numbers, at, source[0], step, x, e)
            run(table, steps, w, k, x, e, b, n)
            for step in range(steps):
                at = output + step * size
                for i in range(size):
                    outputs[begin + step, sample, i] = x[at + i]
    return finite
