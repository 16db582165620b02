"""From a plan to the table of the compiled interpreter."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from snnprune.engine.division import is_product
from snnprune.engine.firing import WORD
from snnprune.engine.geometry import Geometry
from snnprune.engine.lanes import LANES
from snnprune.engine.plan import (
    INPUT,
    PLACES,
    Flatten,
    Integrators,
    Layer,
    Linear,
    Neurons,
    Norm,
    Pool,
    Source,
    Sum,
)
from snnprune.engine.storage import SLACK, Kept, Room, aligned_zeros
from snnprune.engine.table import FIELDS, OPERATION, STRETCH, Kind, Model

if TYPE_CHECKING:
    import numpy.typing as npt

    from snnprune.engine.plan import Plan, Shape

    Array = npt.NDArray[Any]

STEPS = 2 * LANES
"""Steps of a sample that are computed together, layer after layer, so that weights are read less often."""

ALIGNED = 16
"""Numbers: where vectors begin in arrays is a multiple, so that none crosses a cache line."""

NEAR = 2**12
"""Currents that stay in a processor's nearest cache until they are read."""

ALIKE = 4
"""Rows of pixels from which on those that no current has reached share their states."""

NEVER = float(2**46)
"""A threshold that no potential reaches, of places that only fill a vector."""


@dataclass
class Form:
    """Where what a node hands on lies: dense, as a list, or both (`snnprune.engine.table`)."""

    dense: int = -1
    addresses: int = -1
    values: int = -1
    starts: int = -1


@dataclass(frozen=True)
class Program:
    """What the compiled interpreter needs for a plan.

    Attributes:
        table: operations, `snnprune.engine.table.OPERATION`.
        source: one row, where the input is listed.
        block: most steps that are computed together.
        output: x: where outputs are, dense.
        numbers, whole: the arrays ``w`` and ``k``.
        sizes: of ``x``, ``e``, ``b`` and ``n``.
        held: where each node's dense numbers are, if all are watched.
    """

    table: Array
    source: Array
    block: int
    output: int
    numbers: Array
    whole: Array
    sizes: tuple[int, int, int, int]
    held: dict[int, int]

    def arrays(self) -> tuple[Array, Array, Array, Array]:
        """Return the arrays ``x``, ``e``, ``b`` and ``n`` of a sample, all zeros."""
        x, e, b, n = self.sizes
        return (
            aligned_zeros(x, self.numbers.dtype),
            aligned_zeros(e, np.int32),
            np.zeros(b, np.uint8),
            np.zeros(n, np.int64),
        )


def compose(plan: Plan, ways: dict[str, str], *, watched: bool = False) -> Program:
    """Compose the program of a plan.

    Args:
        plan: the network.
        ways: for the name of each layer "rows", "synapses" or "product".
        watched: whether what all nodes hand on is kept.
    """
    return _Composer(plan, ways, watched).program()


class _Composer:
    def __init__(self, plan: Plan, ways: dict[str, str], watched: bool) -> None:
        self.plan, self.ways, self.watched = plan, ways, watched
        self.whole = plan.bits is not None
        nodes = range(len(plan.nodes))
        self.reads = [[self._seen(i, source) for source in plan.nodes[i].sources] for i in nodes]
        self.block = 1 if any(s.delay for read in self.reads for s in read) else STEPS
        self.needed = self._needed()
        self.readers: dict[int, list[tuple[int, int]]] = {i: [] for i in (INPUT, *nodes)}
        for i in self.needed:
            for source in self.reads[i]:
                self.readers[source.node].append((i, source.delay))
        self.fused = {  # a layer to its neurons, neurons to their pool
            i: reader for i in self.needed if (reader := self._fused(i)) is not None
        }
        self.wanted = self._wanted()
        self.numbers, self.k = Kept(plan.dtype, ALIGNED), Kept(np.int32, 1)
        self.x, self.e, self.b, self.n = Room(aligned=ALIGNED), Room(), Room(), Room(len(nodes))
        self.table: list[dict[str, int]] = []
        self.forms: dict[tuple[int, int], Form] = {}
        self.held: dict[int, int] = {}

    # --- who reads what

    def _seen(self, reader: int, source: Source) -> Source:
        """Return what a linear layer sees behind a flatten, whose order its weights are brought into."""
        while isinstance(self.plan.nodes[reader], Linear) and source.node != INPUT:
            node = self.plan.nodes[source.node]
            if not isinstance(node, Flatten) or source.delay + node.sources[0].delay > 1:
                break
            source = replace(node.sources[0], delay=1 if source.delay or node.sources[0].delay else 0)
        return source

    def _needed(self) -> list[int]:
        if self.watched:
            return list(range(len(self.plan.nodes)))
        found, ahead = set(), [self.plan.output]
        while ahead:
            place = ahead.pop()
            if place != INPUT and place not in found:
                found.add(place)
                ahead += [source.node for source in self.reads[place]]
        return sorted(found)

    def _fused(self, i: int) -> int | None:
        node, readers = self.plan.nodes[i], self.readers[i]
        if isinstance(node, Layer) and len(readers) == 1 and i != self.plan.output:
            (reader, delay), kind = readers[0], Neurons
        elif isinstance(node, Neurons):
            pools = [r for r, delay in readers if not delay and isinstance(self.plan.nodes[r], Pool)]
            return pools[0] if pools else None
        else:
            return None
        return reader if not delay and isinstance(self.plan.nodes[reader], kind) else None

    def _wanted(self) -> dict[tuple[int, int], set[str]]:
        """Return in which forms each node is read, in its own step (0) and in the next (1)."""
        wanted: dict[tuple[int, int], set[str]] = {
            (i, delay): set() for i in (INPUT, *self.needed) for delay in (0, 1)
        }
        for i in self.needed:
            node = self.plan.nodes[i]
            for source in self.reads[i]:
                if self.fused.get(source.node) == i and not source.delay:
                    continue
                listed = isinstance(node, Layer) and self.ways[node.name] != "product"
                wanted[source.node, source.delay].add("list" if listed else "dense")
            if self.watched or i == self.plan.output:
                wanted[i, 0].add("dense")
        for i in (INPUT, *self.needed):
            wanted[i, 0] |= wanted[i, 1]
        return wanted

    # --- the program

    def program(self) -> Program:
        source = self._source()
        for i in self.needed:
            self._compose(i)
        for (i, delay), wanted in self.wanted.items():
            if delay and wanted:
                self._delay(i, wanted)
        output = self._output()
        whole = self.k.array()
        size = self.x.end + SLACK
        if max(size, self.e.end, self.numbers.room.end) >= 2**31:
            raise ValueError("a plan of more than 2^31 numbers")
        return Program(
            table=_rows(self.table),
            source=source,
            block=self.block,
            output=output,
            numbers=self.numbers.array(),
            whole=whole,
            sizes=(size, self.e.end + SLACK, self.b.end + SLACK, self.n.end + 1),
            held=self.held,
        )

    def _add(self, kind: Kind, node: int = -1, **fields: int) -> None:
        self.table.append({"kind": int(kind), "node": node, "chained": 0, "wide": 0, **fields})

    def _source(self) -> Array:
        """Make room for the input, as a list, and for a frame that is put together from events."""
        form = self._list(self.plan.shape)
        self.forms[INPUT, 0] = form
        size = _size(self.plan.shape)
        fields = _to(form, self.plan.shape)
        fields |= _from(self.plan.shape)
        fields |= {"dense": self.x.take(size), "bits": self.b.take(-(-size // 8))}
        if "dense" in self.wanted[INPUT, 0]:
            self._spread(INPUT)
        return _rows([fields])

    def _compose(self, i: int) -> None:
        node = self.plan.nodes[i]
        if isinstance(node, Layer) and i in self.fused:
            return  # with its neurons
        if isinstance(node, Pool) and i in self.fused.values():
            return  # with the neurons before it
        if isinstance(node, Layer):
            self._layer(i)
            self._collect(i, clear=True)
        elif isinstance(node, Neurons):
            self._neurons(i)
        else:
            self._dense(i)
        self._complete(i)
        if isinstance(node, Neurons) and i in self.fused:
            self._complete(self.fused[i])

    def _complete(self, i: int) -> None:
        """Make the forms of a node that are read and not there."""
        form, wanted = self.forms[i, 0], self.wanted[i, 0]
        if "dense" in wanted and form.dense < 0:
            self._spread(i)
        if "list" in wanted and form.addresses < 0:
            shape = self.plan.nodes[i].shape
            listed = self._list(shape)
            self._add(Kind.SCAN, i, dense=form.dense, **_to(listed, shape), **_from(shape))
            listed.dense = form.dense
            self.forms[i, 0] = listed
        if self.watched:
            self.held[i] = self.forms[i, 0].dense

    def _spread(self, i: int) -> None:
        shape = self._shape(i)
        form = self.forms[i, 0]
        form.dense = self._take(shape)
        self._add(Kind.SPREAD, i, to_dense=form.dense, **_reading(form), **_from(shape))

    def _shape(self, i: int) -> Shape:
        return self.plan.shape if i == INPUT else self.plan.nodes[i].shape

    def _take(self, shape: Shape) -> int:
        return self.x.take(self.block * _size(shape))

    def _list(self, shape: Shape) -> Form:
        size = self.block * _size(shape)
        starts = self.e.take(self.block * _starts(shape)) + shape[1] + 1
        return Form(addresses=self.e.take(size), values=self.x.take(size), starts=starts)

    def _read(self, i: int, term: int = 0) -> tuple[Form, Shape]:
        """Return what a node reads."""
        source = self.reads[i][term]
        if source.delay and (source.node, 1) not in self.forms:
            shape, wanted = self._shape(source.node), self.wanted[source.node, 1]
            form = self._list(shape) if "list" in wanted else Form()
            if "dense" in wanted:
                form.dense = self._take(shape)
            self.forms[source.node, 1] = form
        return self.forms[source.node, source.delay], self._shape(source.node)

    def _delay(self, i: int, wanted: set[str]) -> None:
        shape, now, then = self._shape(i), self.forms[i, 0], self.forms[i, 1]
        fields = _from(shape) | _to(then, shape)
        if "dense" in wanted:
            fields |= {"dense": now.dense, "to_dense": then.dense}
        if "list" in wanted:
            fields |= _reading(now)
        self._add(Kind.DELAY, i, **fields)

    def _output(self) -> int:
        i = self.plan.output
        form, shape = self.forms[i, 0], self.plan.nodes[i].shape
        if shape[1] * shape[2] == 1:
            return form.dense
        to = self._take(shape)
        self._add(
            Kind.PERMUTE, i, dense=form.dense, to_dense=to, map=self.k.put(_transposed(shape)), **_from(shape)
        )
        return to

    # --- layers

    def _layer(self, i: int) -> dict[str, int]:
        """Compose the synapses of a layer, and return where its currents are."""
        node = self.plan.nodes[i]
        assert isinstance(node, Layer)
        form, shape = self._read(i)
        way = self.ways[node.name]
        if self.whole:
            form = self._rounded(i, form, shape, listed=way != "product")
        geometry = Geometry.of(node, shape)
        lined = way == "rows" and not geometry.merged and i in self.fused and not self.watched
        line = -(-(geometry.pitch + 2 * SLACK) // ALIGNED) * ALIGNED
        together = max(1, min(self.block, NEAR // geometry.pitch))
        if lined:
            room = self.x.take(together * line) + geometry.right.before * geometry.padded
        else:
            room = self.x.take((self.block if geometry.merged else 1) * geometry.currents + 2 * SLACK)
            room += geometry.first
        currents = {
            "currents": room,
            "currents_pitch": 0 if lined else geometry.pitch,
            "currents_step": geometry.currents if geometry.merged else 0,
            "padded": geometry.padded,
        }
        fields = _from(shape) | currents | {"merged": int(geometry.merged)}
        fields |= {
            "height": geometry.down.size,
            "width": geometry.right.size,
            "channels": geometry.channels,
            "to_height": geometry.down.outputs,
            "to_width": geometry.right.outputs,
            "above": geometry.down.padding,
            "taps_down": geometry.down.taps,
            "taps_right": geometry.right.taps,
            "step_down": geometry.down.stride,
            "step_right": geometry.right.stride,
            "gap_down": geometry.down.dilation,
            "gap_right": geometry.right.dilation,
        }
        fields |= {"groups": geometry.groups, "inputs": geometry.inputs, "units": geometry.units}
        if way == "product":
            self._product(i, geometry, form, fields)
            return currents
        fields |= _reading(form)
        if way == "synapses":
            fields["tables"] = self.k.put(geometry.pixels())
            pointers, offsets, weights = geometry.synapses()
            fields |= {"pointers": self.k.put(pointers), "offsets": self.k.put(offsets)}
            fields["weights"] = self.numbers.put(weights)
            if geometry.merged and self.block > 1:
                fields |= {
                    "wide": 1,
                    "lined": self.x.take(_size(shape) * STEPS),
                    "sums": self.x.take(geometry.padded * STEPS),
                    "marks": self.b.take(_size(shape) + LANES),
                }
            self._add(Kind.SYNAPSES, i, **fields)
            return currents
        begins, entries, weights = geometry.segments()
        fields |= {"tables": self.k.put(geometry.columns()), "classes": self.k.put(begins)}
        fields |= {"segments": self.k.put(entries), "weights": self.numbers.put(weights)}
        fields |= {"wide": int(geometry.merged or lined), "single": int(geometry.single)}
        fields |= {"together": together, "line_step": line}
        fields["alone"] = self.e.take(4)
        fields["cursors"] = self.e.take(self.block)
        self._add(Kind.ROWS, i, **fields)
        return currents

    def _product(self, i: int, geometry: Geometry, form: Form, fields: dict[str, int]) -> None:
        down, right = geometry.down, geometry.right
        pitch = right.spanned * geometry.channels
        fields |= {
            "dense": form.dense,
            "weights": self.numbers.put(geometry.taps()),
        }
        if geometry.merged:
            self._add(Kind.PRODUCT, i, **fields | {"wide": 1})
            return
        fields |= {
            "apart": self.x.take(down.spanned * pitch + SLACK),
            "apart_pitch": pitch,
            "left": right.padding,
        }
        self._add(Kind.PRODUCT, i, **fields)

    def _rounded(self, i: int, form: Form, shape: Shape, *, listed: bool) -> Form:
        """Compose the whole numbers that a layer reads."""
        if not listed:
            own = Form(dense=self._take(shape))
            self._add(Kind.ROUND, i, dense=form.dense, to_dense=own.dense, **_from(shape))
            return own
        own = replace(form, values=self.x.take(self.block * _size(shape)))
        self._add(Kind.ROUND, i, **_reading(form), to_values=own.values, **_from(shape))
        return own

    def _bias(self, node: Layer) -> int:
        if node.biases is None or not node.biases.any():
            return -1
        own = node.biases.astype(np.float64) * (2.0**PLACES if self.whole else 1)
        return self.numbers.put(_row(own, node.shape))

    def _collect(self, i: int, *, clear: bool) -> None:
        """Compose the dense sums of the layer whose currents have just been computed."""
        node = self.plan.nodes[i]
        assert isinstance(node, Layer)
        last = self.table[-1]
        form = Form(dense=self._take(node.shape))
        self.forms[i, 0] = form
        fields = {name: last[name] for name in ("currents", "currents_pitch", "currents_step", "padded")}
        if self.whole and not node.whole:
            assert node.steps is not None
            fields["unit"] = self.numbers.put(_row(node.steps / 2.0**PLACES, node.shape))
        fields |= _to(form, node.shape) | {"clear": int(clear), "bias": self._bias(node)}
        self._add(Kind.COLLECT, i, **fields | {"chained": self._chained()})

    def _chained(self) -> int:
        return int(not self.table[-1].get("currents_step"))

    # --- neurons

    def _neurons(self, i: int) -> None:
        node = self.plan.nodes[i]
        assert isinstance(node, Neurons)
        read = self.reads[i][0].node
        bias = -1
        if self.fused.get(read) == i and not self.reads[i][0].delay:
            layer = self.plan.nodes[read]
            assert isinstance(layer, Layer)
            currents, bias = self._layer(read), self._bias(layer)
            chained = self._chained()
            if self.watched:
                self._collect(read, clear=False)
                self._complete(read)
        else:
            currents, chained = self._loaded(i), 1
        fields = currents | {"clear": 1, "bias": bias, "chained": chained}
        fields |= {"to_height": node.shape[1], "to_width": node.shape[2], "to_channels": node.shape[0]}
        fields |= self._constants(node) | self._spikes(i, node)
        self._add(Kind.FIRE, i, **fields)

    def _loaded(self, i: int) -> dict[str, int]:
        """Compose currents of dense numbers."""
        form, shape = self._read(i)
        padded = _padded(shape)
        pitch = shape[2] * padded
        currents = {
            "currents": self.x.take(shape[1] * pitch + SLACK),
            "currents_pitch": pitch,
            "currents_step": 0,
            "padded": padded,
        }
        fields = currents | _from(shape) | _to(Form(), shape)
        self._add(Kind.LOAD, i, dense=form.dense, **fields)
        return currents

    def _constants(self, node: Neurons) -> dict[str, int]:
        shape = node.shape
        hard = node.reset is not None
        rest = node.reset if node.reset is not None else np.zeros(1)
        leak = np.asarray(node.leak, np.float64)
        model = {
            "if": Model.IF,
            "lif": Model.LIF if node.decay_input else Model.LIF_WHOLE_INPUT,
            "plif": Model.PLIF if node.decay_input else Model.PLIF_WHOLE_INPUT,
            "heterogeneous": Model.HETEROGENEOUS,
            "adaptive": Model.ADAPTIVE,
            "whole": Model.WHOLE,
        }[node.kind]
        if model in {Model.LIF, Model.LIF_WHOLE_INPUT} and (np.frexp(leak)[0] == 0.5).all():
            leak = 1 / leak  # exact, so that a product is the quotient
            model = Model.PLIF if node.decay_input else Model.PLIF_WHOLE_INPUT
        one = all((numbers == numbers.flat[0]).all() for numbers in (np.asarray(node.threshold), leak))
        uniform = one and hard and not rest.any() and model < Model.HETEROGENEOUS
        fields = {
            "model": int(model),
            "hard": int(hard),
            "uniform": int(uniform),
            "threshold": self.numbers.put(_row(node.threshold, shape, NEVER)),
            "leak": self.numbers.put(_row(leak, shape, 1)),
            "share": self.numbers.put(_row(1 - leak, shape)),
            "rest": self.numbers.put(_row(rest, shape)),
            "inverse": self._inverse(model, leak) if uniform else -1,
            "places": self.plan.bits or 0,
        }
        row = shape[2] * _padded(shape)
        alike = shape[1] >= ALIKE
        fields |= {"alike": int(alike)}
        fields["states"] = shape[1] * row + (self.block + 1) * alike * _padded(shape)
        kept = 3 if model == Model.ADAPTIVE else 1
        fields["potentials"] = (self.n if model == Model.WHOLE else self.x).take(kept * fields["states"])
        if alike:
            fields |= {
                "common": fields["potentials"] + shape[1] * row,
                "nothing": self.x.take(_padded(shape)),
                "warm": self.b.take(shape[1] * -(-row // (LANES * STRETCH))),
                "reached": self.n.take(1),
                "common_bits": self.b.take(self.block * (_padded(shape) // LANES)),
            }
        if node.adaptation is not None:
            fields |= {
                "adaptation": self.numbers.put(_row(node.adaptation, shape, 1)),
                "adaptation_share": self.numbers.put(_row(1 - np.asarray(node.adaptation), shape)),
                "rise": self.numbers.put(node.rise),
            }
        return fields

    def _inverse(self, model: Model, leak: Array) -> int:
        """Return where the inverse of one leak lies by which neurons may multiply, or -1."""
        divides = model in {Model.LIF, Model.LIF_WHOLE_INPUT}
        if not divides or not is_product(float(leak.flat[0]), self.plan.dtype):
            return -1
        return self.numbers.put(1 / self.plan.dtype.type(leak.flat[0]))

    def _spikes(self, i: int, node: Neurons) -> dict[str, int]:
        """Return where the spikes go, and the averages or maxima of them."""
        fields: dict[str, int] = {"pooled": 0, "pool_height": 0, "pool_width": 0}
        ring = 1
        wanted = bool(self.wanted[i, 0])
        form = self._list(node.shape) if wanted else Form()
        if i in self.fused:
            pool = self.plan.nodes[self.fused[i]]
            assert isinstance(pool, Pool)
            ring = max(1, int((pool.rows[:, 1] - pool.rows[:, 0]).max(initial=1)))
            handed = self._list(pool.shape)
            self.forms[self.fused[i], 0] = handed
            fields |= _to(handed, pool.shape)
            fields |= {"to_height": node.shape[1], "to_width": node.shape[2]}
            ended = np.searchsorted(pool.rows[:, 1], np.arange(node.shape[1] + 1), "right")
            part = _part(pool)
            fields |= {"pooled": 1, "square": int(part is not None), "ended": self.k.put(ended)}
            fields["part"] = self.numbers.put(part or 0)
            fields |= self._windows(pool)
            fields |= {"own_addresses": form.addresses, "own_values": form.values, "own_starts": form.starts}
            fields |= {"own_size": _size(node.shape), "own_starts_step": _starts(node.shape)}
        else:
            fields |= _to(form, node.shape)
        self.forms[i, 0] = form
        pitch = node.shape[2] * _padded(node.shape) // LANES + WORD // LANES
        many = self.block * ring
        return fields | {"ring": ring, "bits": self.b.take(many * pitch), "fired": self.b.take(many)}

    def _windows(self, pool: Pool) -> dict[str, int]:
        return {
            "pool_height": pool.shape[1],
            "pool_width": pool.shape[2],
            "rows": self.k.put(pool.rows),
            "columns": self.k.put(pool.columns),
            "divisors": self.numbers.put(pool.divisors),
            "maximum": int(pool.kind == "maximum"),
        }

    # --- what works on dense numbers

    def _dense(self, i: int) -> None:
        node = self.plan.nodes[i]
        form, shape = self._read(i)
        handed = Form(dense=self._take(node.shape))
        self.forms[i, 0] = handed
        fields = {"dense": form.dense} | _from(shape) | _to(handed, node.shape)
        match node:
            case Pool():
                self._add(Kind.POOL, i, **fields, **self._windows(node))
            case Sum():
                terms = [self._read(i, term)[0].dense for term in range(len(node.sources))]
                self._add(Kind.SUM, i, **fields, terms=len(terms), map=self.k.put(terms))
            case Flatten():
                self._add(Kind.PERMUTE, i, **fields, map=self.k.put(_transposed(shape)))
            case Norm():
                own = {
                    name: self.numbers.put(np.broadcast_to(getattr(node, name), shape[:1]))
                    for name in ("mean", "scale", "shift")
                }
                self._add(Kind.NORM, i, **fields, **own)
            case Integrators():
                self._integrators(i, node, fields)
            case _:
                raise AssertionError(node)

    def _integrators(self, i: int, node: Integrators, fields: dict[str, int]) -> None:
        leak = np.asarray(node.leak, np.float64)
        fields |= {"leak": self.numbers.put(leak), "share": self.numbers.put(1 - leak)}
        if self.whole:
            assert node.steps is not None
            fields |= {"model": int(Model.WHOLE), "places": self.plan.bits or 0}
            fields |= {"potentials": self.n.take(_size(node.shape))}
            units = np.broadcast_to(node.steps / 2.0**PLACES, node.shape[:1])
            fields["unit"] = self.numbers.put(units)
        else:
            fields["potentials"] = self.x.take(_size(node.shape))
        self._add(Kind.INTEGRATE, i, **fields)


def _rows(table: list[dict[str, int]]) -> Array:
    rows = np.zeros(len(table), OPERATION)
    for row, fields in zip(rows, table, strict=True):
        for name in FIELDS:
            row[name] = fields.get(name, -1)
    return rows


def _size(shape: Shape) -> int:
    return shape[0] * shape[1] * shape[2]


def _padded(shape: Shape) -> int:
    return -(-shape[0] // LANES) * LANES


def _starts(shape: Shape) -> int:
    return shape[1] + 1 + 2 * shape[1] * shape[2] + 3


def _row(numbers: Any, shape: Shape, beyond: float = 0) -> Array:
    """Return constants [1] or [channels] for a row of pixels, with their padding."""
    pixel = np.full(_padded(shape), beyond, np.float64)
    pixel[: shape[0]] = np.asarray(numbers, np.float64).reshape(-1)
    return np.tile(pixel, shape[2])


def _from(shape: Shape) -> dict[str, int]:
    return {
        "channels": shape[0],
        "height": shape[1],
        "width": shape[2],
        "size": _size(shape),
        "starts_step": _starts(shape),
    }


def _reading(form: Form) -> dict[str, int]:
    return {"addresses": form.addresses, "values": form.values, "starts": form.starts}


def _to(form: Form, shape: Shape) -> dict[str, int]:
    return {
        "to_dense": form.dense,
        "to_addresses": form.addresses,
        "to_values": form.values,
        "to_starts": form.starts,
        "to_starts_step": _starts(shape),
        "to_size": _size(shape),
        "to_channels": shape[0],
        "to_height": shape[1],
        "to_width": shape[2],
    }


def _transposed(shape: Shape) -> Array:
    """Return for each number in the order (channels, height, width) its place in ours."""
    c, h, w = shape
    return np.arange(c * h * w).reshape(h, w, c).transpose(2, 0, 1).reshape(-1)


def _part(pool: Pool) -> float | None:
    """Return what a spike adds to a pool of squares of two pixels that do not overlap, exactly; or None."""

    def pairs(windows: Array) -> bool:
        first = 2 * np.arange(len(windows))
        return bool((windows == np.stack([first, first + 2], 1)).all())

    divisors = pool.divisors.astype(np.float64)
    exact = bool((divisors == divisors.flat[0]).all()) and np.frexp(divisors.flat[0])[0] == 0.5
    if not (pairs(pool.rows) and pairs(pool.columns)):
        return None
    if pool.kind == "maximum":
        return 1.0
    return float(1 / divisors.flat[0]) if exact else None
