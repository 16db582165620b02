"""torch's `nn.RNN` and `nn.RNNCell` with layers inside, so that discovery sees what their units are.

torch's own hold two matrices in one module and compute all time steps in one call. Here a matrix is a linear
layer and the nonlinearity a module, which is called once a step: units can be pruned as those of any layer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence

from snnprune.common.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

Nonlinearity = Literal["tanh", "relu"]

_ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU}
_LAYERS = ("ih", "hh")


class RNNCell(nn.Module):
    """One step of a recurrent layer, as torch's `nn.RNNCell` computes it.

    With x the inputs and h what the units said one step before::

        h' = act(ih(x) + hh(h))

    Arguments, first values for a seed, and answers are those of `nn.RNNCell`.

    Args:
        input_size: number of inputs.
        hidden_size: number of units.
        bias: whether both layers have a bias.
        nonlinearity: "tanh" or "relu".
        device: of the weights.
        dtype: of the weights.

    Attributes:
        ih: the layer from the inputs.
        hh: the layer from the units to themselves.
        act: the nonlinearity.

    Examples:
        >>> import torch
        >>> from snnprune.nn import RNNCell
        >>> theirs = torch.nn.RNNCell(3, 2, nonlinearity="relu")
        >>> x, h = torch.rand(4, 3), torch.rand(4, 2)
        >>> torch.equal(RNNCell.of(theirs)(x, h), theirs(x, h))
        True
    """

    def __init__(  # noqa: PLR0917 - torch's order
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: Nonlinearity = "tanh",
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self._take(nn.RNNCell(input_size, hidden_size, bias, nonlinearity, device, dtype), "")

    @classmethod
    def of(cls, cell: nn.RNNCell) -> RNNCell:
        """Return the same cell with copies of the weights of ``cell``.

        Raises:
            UserError: it is no `nn.RNNCell`.
        """
        _check(cell, nn.RNNCell)
        return cls._of(cell, "")

    @classmethod
    def _of(cls, source: nn.Module, suffix: str) -> RNNCell:
        """Return a cell with the tensors of ``source`` whose names end in ``suffix``."""
        made = cls.__new__(cls)
        nn.Module.__init__(made)
        made._take(source, suffix)
        return made.train(source.training)

    def _take(self, source: Any, suffix: str) -> None:
        self.ih, self.hh = (
            _linear(getattr(source, f"weight_{name}{suffix}"), getattr(source, f"bias_{name}{suffix}", None))
            for name in _LAYERS
        )
        self.nonlinearity: Nonlinearity = source.nonlinearity
        self.act = _ACTIVATIONS[self.nonlinearity]()

    @property
    def input_size(self) -> int:
        """Number of inputs that are left."""
        return self.ih.in_features

    @property
    def hidden_size(self) -> int:
        """Number of units that are left."""
        return self.hh.in_features

    @property
    def bias(self) -> bool:
        """Whether both layers have a bias."""
        return self.ih.bias is not None

    def forward(self, x: Tensor, hx: Tensor | None = None) -> Tensor:
        """Compute one step.

        Args:
            x: [B, inputs], or [inputs].
            hx: [B, units], or [units]: what the units said one step before; None: nothing.
        """
        return self.answer(self.ih(x), self.rest(x) if hx is None else hx)

    def answer(self, current: Tensor, h: Tensor) -> Tensor:
        """Return what the units say to ``current``, [B, units], from the inputs, and to their own ``h``."""
        said: Tensor = self.act(self.hh(h) + current)
        return said

    def rest(self, x: Tensor) -> Tensor:
        """Return what units that are given ``x``, [..., inputs], say before the first step: zeros."""
        return x.new_zeros(*x.shape[:-1], self.hidden_size)


class RNN(nn.Module):
    """A recurrent layer, or several one behind another, as torch's `nn.RNN` computes them.

    Arguments, first values for a seed, and answers are those of `nn.RNN`, but for packed sequences, which
    are refused. Weights lie in linear layers, so the state_dict has other keys: use `of` and `to_torch`.

    `nn.RNN` hands out the last states of all layers and directions in one tensor. So unit n of each of them
    is one unit: it dies in all at once. Layers whose units die one by one are an `RNN` each.

    Args:
        input_size: number of inputs.
        hidden_size: number of units of a layer, in each direction.
        num_layers: number of layers.
        nonlinearity: "tanh" or "relu".
        bias: whether layers have a bias.
        batch_first: whether samples come before time, [B, T, inputs].
        dropout: share of dropout behind each layer but the last.
        bidirectional: whether each layer has a second direction, from the last time step to the first.
        device: of the weights.
        dtype: of the weights.

    Attributes:
        cells: an `RNNCell` for each layer, or two of them, the way there and the way back.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> theirs = nn.RNN(3, 8, nonlinearity="relu")
        >>> ours, x = snnprune.nn.RNN.of(theirs), torch.rand(5, 2, 3)
        >>> torch.equal(ours(x)[0], theirs(x)[0])
        True
        >>> class Net(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.rnn, self.out = ours, nn.Linear(8, 2)
        ...
        ...     def forward(self, x):
        ...         return self.out(self.rnn(x)[0])
        >>> [p.name for p in snnprune.discover(Net(), x).free()]
        ['rnn.cells.0.ih']
    """

    def __init__(  # noqa: PLR0917 - torch's order
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: Nonlinearity = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        own = input_size, hidden_size, num_layers, nonlinearity, bias, batch_first, dropout, bidirectional
        self._take(nn.RNN(*own, device=device, dtype=dtype))

    @classmethod
    def of(cls, rnn: nn.RNN) -> RNN:
        """Return the same layers with copies of the weights of ``rnn``.

        Raises:
            UserError: it is no `nn.RNN`.
        """
        _check(rnn, nn.RNN)
        made = cls.__new__(cls)
        nn.Module.__init__(made)
        made._take(rnn)
        return made.train(rnn.training)

    def _take(self, source: nn.RNN) -> None:
        self.nonlinearity: Nonlinearity = source.nonlinearity
        self.batch_first, self.bidirectional = source.batch_first, source.bidirectional
        self.cells = nn.ModuleList(RNNCell._of(source, suffix) for suffix in _suffixes(source))
        self.drop = nn.Dropout(source.dropout)

    def to_torch(self) -> nn.RNN:
        """Return torch's own layers with copies of the weights, of the size that these have after cuts."""
        sizes = self.input_size, self.hidden_size, self.num_layers
        options = self.nonlinearity, self.bias, self.batch_first, self.dropout, self.bidirectional
        made = nn.RNN(*sizes, *options).to(self._cell(0).ih.weight)
        with torch.no_grad():
            for suffix, cell in zip(_suffixes(made), self.cells, strict=True):
                for name, tensor in cell.named_parameters():
                    layer, _, kind = name.partition(".")
                    made.get_parameter(f"{kind}_{layer}{suffix}").copy_(tensor)
        return made.train(self.training)

    @property
    def input_size(self) -> int:
        """Number of inputs that are left."""
        return self._cell(0).input_size

    @property
    def hidden_size(self) -> int:
        """Number of units of a layer, in each direction, that are left."""
        return self._cell(0).hidden_size

    @property
    def num_layers(self) -> int:
        """Number of layers."""
        return len(self.cells) // self.directions

    @property
    def bias(self) -> bool:
        """Whether layers have a bias."""
        return self._cell(0).bias

    @property
    def dropout(self) -> float:
        """Share of dropout behind each layer but the last."""
        return self.drop.p

    @property
    def directions(self) -> int:
        """Number of directions."""
        return 2 if self.bidirectional else 1

    def _cell(self, number: int) -> RNNCell:
        cell = self.cells[number]
        assert isinstance(cell, RNNCell)
        return cell

    def forward(self, x: Tensor, hx: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Compute all time steps.

        Args:
            x: [T, B, inputs], [B, T, inputs] if ``batch_first``, or [T, inputs].
            hx: [layers x directions, B, units], or without B: the first states; None: zeros.

        Returns:
            What the units of the last layer said, [T, B, directions x units] or as ``x`` is laid out, and the
            last states of all layers, as ``hx`` is.

        Raises:
            UserError: input or states of another shape, or a packed sequence.
        """
        self._check_input(x, hx)
        alone, time = x.ndim == 2, 1 if self.batch_first and x.ndim == 3 else 0
        if alone:
            x, hx = x.unsqueeze(1), None if hx is None else hx.unsqueeze(1)
        y, states = x.transpose(0, time), []
        for number in range(self.num_layers):
            if number:
                y = self.drop(y)
            y, last = self._layer(number, y, hx)
            states += last
        y, hn = y.transpose(0, time), torch.stack(states)
        return (y.squeeze(1), hn.squeeze(1)) if alone else (y, hn)

    def _layer(self, number: int, x: Tensor, hx: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        """Return what a layer says to ``x`` [T, B, ...], in both directions, and its last states."""
        said, last = [], []
        for way in range(self.directions):
            place = number * self.directions + way
            cell = self._cell(place)
            h = cell.rest(x[0]) if hx is None else hx[place]
            steps = []
            currents = cell.ih(x).unbind()
            for current in reversed(currents) if way else currents:
                h = cell.answer(current, h)
                steps.append(h)
            said.append(torch.stack(steps[::-1] if way else steps))
            last.append(h)
        return (torch.cat(said, -1) if self.bidirectional else said[0]), last

    def _check_input(self, x: Any, hx: Tensor | None) -> None:
        if isinstance(x, PackedSequence):
            raise UserError(
                "an RNN takes a tensor, and got a PackedSequence: pad the sequences "
                "(torch.nn.utils.rnn.pad_packed_sequence), or keep torch's nn.RNN"
            )
        axes = f"[B, T, {self.input_size}]" if self.batch_first else f"[T, B, {self.input_size}]"
        if x.ndim not in (2, 3) or x.shape[-1] != self.input_size or not x.shape[-2] or not len(x):
            raise UserError(
                f"an RNN of {self.input_size} inputs expects {axes} or [T, {self.input_size}], and got "
                f"{list(x.shape)}: give it that shape"
            )
        samples = [] if x.ndim == 2 else [x.shape[0 if self.batch_first else 1]]
        expected = [len(self.cells), *samples, self.hidden_size]
        if hx is not None and list(hx.shape) != expected:
            raise UserError(
                f"the first states of this RNN are {expected}, and came as {list(hx.shape)}: take their size "
                "from hidden_size, which follows cuts, or leave them out for zeros"
            )


def _suffixes(rnn: nn.RNN) -> Iterator[str]:
    """Yield the ends of the names of torch's tensors, layer by layer, the way there before the way back."""
    for number in range(rnn.num_layers):
        for way in ("", "_reverse") if rnn.bidirectional else ("",):
            yield f"_l{number}{way}"


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """Return a layer with copies of a weight and a bias."""
    rows, columns = weight.shape
    layer = nn.Linear(columns, rows, bias is not None, device="meta")
    for name, tensor in (("weight", weight), ("bias", bias)):
        if tensor is not None:
            setattr(layer, name, nn.Parameter(tensor.detach().clone(), tensor.requires_grad))
    return layer


def _check(given: Any, expected: type[nn.Module]) -> None:
    """Check that ``given`` is computed as torch computes it.

    Raises:
        UserError: it is of another class.
    """
    if type(given) is not expected:
        raise UserError(
            f"of() takes over torch's own nn.{expected.__name__}, and was given the class "
            f"{type(given).__name__}: write that one as layers and activation modules in a loop"
        )
