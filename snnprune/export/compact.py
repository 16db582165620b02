"""A compact network in two files: tensors in safetensors, and everything else in JSON.

`load` takes a function that builds the dense network. It checks that the function builds the right network,
makes it as small as the saved one, and fills in the tensors. Nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch.nn.parameter import is_lazy

from snnprune.common import atomic, document
from snnprune.common.errors import UserError
from snnprune.config.names import MODELS, NIR_MODEL
from snnprune.engine.checking import MOST_WEIGHTS
from snnprune.export.modules import describe, first_difference
from snnprune.network.sizes import tensor_of
from snnprune.network.wrappers import inside
from snnprune.nn import models
from snnprune.pruning.compaction.shapes import fit_sizes, numbered, set_numbers
from snnprune.pruning.compaction.survivors import SurvivingUnits, carry, survivors_of
from snnprune.pruning.compaction.transaction import Transaction
from snnprune.runs import about as origin

if TYPE_CHECKING:
    from collections.abc import Callable
    from os import PathLike

    from torch import Tensor, nn

    Network = TypeVar("Network", bound=nn.Module)

FORMAT = "snnprune network, version 1"
WANTED = "pass load a builder, a function that builds the dense network"
_PARTS = {"sha256", "seal", "kept", "tensors", "shared", "modules"}


def save(model: nn.Module, path: str | PathLike[str], about: str = "") -> None:
    """Write ``model`` to ``path``.safetensors and ``path``.json, each completely or not at all.

    Args:
        model: any network, usually a compact one; of a compiled network, or one in a wrapper such as
            DataParallel, the network inside is written.
        path: with or without the ending ".safetensors".
        about: text that is stored in the JSON; `about_of` returns it.

    Raises:
        UserError: the folder cannot be written.

    Examples:
        >>> from torch import nn
        >>> import snnprune
        >>> snnprune.save(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), "net", about="by hand")
    """
    model = inside(model)
    tensors = _tensors(model)
    shared = _shared(tensors)
    content = safetensors.save({k: t.detach().contiguous() for k, t in tensors.items() if k not in shared})
    survivors = survivors_of(model)
    description = {
        "format": FORMAT,
        "sha256": hashlib.sha256(content).hexdigest(),
        "kept": {n: {"dense": survivors.sizes[n], "units": u.tolist()} for n, u in survivors.items()},
        "tensors": {
            key: {
                "shape": list(t.shape),
                "dense": list(survivors.shapes.get(key, t.shape)),
                "dtype": _dtype(t),
            }
            for key, t in tensors.items()
        },
        "shared": shared,
        "numbers": {key: list(both) for key, both in survivors.numbers.items()},
        "modules": describe(model, {key: dense for key, (_, dense) in survivors.numbers.items()}),
        "about": about,
    }
    description["seal"] = _seal(description)
    weights, text = _files(path)
    atomic.write(weights, lambda file: file.write(content))
    atomic.write_text(text, json.dumps(description, indent=1) + "\n")


@overload
def load(path: str | PathLike[str], builder: Callable[[], Network]) -> Network: ...


@overload
def load(path: str | PathLike[str]) -> nn.Module: ...


def load(path: str | PathLike[str], builder: Callable[[], nn.Module] | None = None) -> nn.Module:
    """Return the network that `save` or a run wrote to ``path``.

    Args:
        path: as given to `save`, or ``model.safetensors`` of a run.
        builder: builds the dense network, with any weights. A file of a run with one of snnprune's own models
            needs none: it says which one. Code that only a file names is never run.

    Raises:
        UserError: the files cannot be read or do not belong together, ``builder`` builds another network, or
            there is none and the file does not name a model of snnprune's. The message names the first layer
            with another class, constant or shape.

    Examples:
        >>> from torch import nn
        >>> import snnprune
        >>> build = lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> snnprune.save(build(), "net")
        >>> snnprune.load("net", build)[0]
        Linear(in_features=4, out_features=8, bias=True)
    """
    weights, text = _files(path)
    description, content = _read(weights, text)
    built: Any = _built(_own(str(description.get("about", "")), weights) if builder is None else builder)
    model = inside(built)
    saved = description["tensors"]
    difference = (
        first_difference(description["modules"], model)
        or _other_shape(saved, model)
        or _other_ties(description["shared"], model)
    )
    if difference is not None:
        raise UserError(f"the builder builds another network than the one in {weights}: {difference}")
    try:
        tensors = safetensors.load(content)
    except SafetensorError as error:
        raise UserError(f"{weights} is damaged ({error}): save the network again") from error
    kept = description["kept"]
    survivors = SurvivingUnits(
        {name: entry["dense"] for name, entry in kept.items()},
        {name: torch.tensor(entry["units"], dtype=torch.int64) for name, entry in kept.items()},
        {key: tuple(e["dense"]) for key, e in saved.items() if e["dense"] != e["shape"]},
        {key: (now, dense) for key, (now, dense) in description.get("numbers", {}).items()},
    )
    with Transaction() as changes:
        own = {key: tensor_of(model, key) for key in tensors}
        changes.replace({key: (own[key], new.to(own[key].device), None) for key, new in tensors.items()})
        fit_sizes(model, tensors, changes)
        set_numbers(numbered(model, survivors.numbers), changes)
        carry(changes, model, survivors)
    return built


def _own(text: str, path: Path) -> Callable[[], nn.Module]:
    """Return a builder of the model of snnprune's own that a file of a run names.

    Raises:
        UserError: it names none.
    """
    try:
        made = origin.parse(text, path)
    except UserError:
        raise UserError(f"{path} does not say how its network is built: {WANTED}") from None
    name = made.config.model.name
    if name not in MODELS or name == NIR_MODEL:
        raise UserError(f"{path} holds a '{name:.80}', which is no model of snnprune's own: {WANTED}")

    def build() -> nn.Module:
        return models.build(made.config.model, made.shape, made.classes)

    with torch.device("meta"):  # before memory is taken for what a file claims
        size = sum(tensor.numel() for tensor in build().state_dict().values())
    if size > MOST_WEIGHTS:
        raise UserError(f"{path} names a network of {size:,} numbers, more than {MOST_WEIGHTS:,}: {WANTED}")
    return build


def _built(builder: Callable[[], Network]) -> Network:
    """Return what ``builder`` builds.

    Raises:
        UserError: it is itself a network, does not build one, or builds layers without sizes.
    """
    if isinstance(builder, torch.nn.Module):
        raise UserError(
            f"expected a function that builds the dense network, and got a {type(builder).__name__} itself: "
            "write load(path, lambda: network)"
        )
    model = builder()
    if not isinstance(model, torch.nn.Module):
        raise UserError(
            "expected a function that builds the dense network, and this one returned "
            f"{type(model).__name__}: let it return the module"
        )
    lazy = next((n for n, t in (*model.named_parameters(), *model.named_buffers()) if is_lazy(t)), None)
    if lazy is not None:
        raise UserError(
            f"expected a builder of the dense network, and {lazy} has no size before the first forward: let "
            "the builder call the network once"
        )
    return model


def about_of(path: str | PathLike[str]) -> str:
    """Return the text that was given to `save`, "" if there was none.

    Raises:
        UserError: the files cannot be read or do not belong together.
    """
    description, _ = _read(*_files(path))
    return str(description.get("about", ""))


def _files(path: str | PathLike[str]) -> tuple[Path, Path]:
    stem = str(path).removesuffix(".safetensors").removesuffix(".json")
    return Path(f"{stem}.safetensors"), Path(f"{stem}.json")


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of the state_dict, and any others that a cut has changed."""
    tensors = {k: t for k, t in model.state_dict(keep_vars=True).items() if isinstance(t, torch.Tensor)}
    return tensors | {k: tensor_of(model, k) for k in survivors_of(model).shapes}


def _shared(tensors: dict[str, Tensor]) -> dict[str, str]:
    """Return, for each tensor with several keys, its first key by its other keys."""
    first: dict[int, str] = {}
    names = {key: first.setdefault(id(tensor), key) for key, tensor in tensors.items()}
    return {key: name for key, name in names.items() if key != name}


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _seal(description: dict[str, Any]) -> str:
    """Return the checksum of everything else in a description."""
    rest = {key: value for key, value in description.items() if key != "seal"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _read(weights: Path, text: Path) -> tuple[dict[str, Any], bytes]:
    try:
        description: Any = document.parse_json(document.read_text(text))
        content = weights.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"cannot read the network in {weights} and {text.name}: {reason}; expected both files, as "
            "snnprune.save writes them"
        ) from error
    if (
        not isinstance(description, dict)
        or description.get("format") != FORMAT
        or _PARTS - description.keys()
    ):
        raise UserError(
            f"{text} does not describe a network: expected format '{FORMAT}', as snnprune.save writes"
        )
    if hashlib.sha256(content).hexdigest() != description["sha256"]:
        raise UserError(
            f"{weights} is not the file that {text.name} describes: copy both files, or save the "
            "network again"
        )
    if _seal(description) != description["seal"]:
        raise UserError(f"{text} is damaged: its content does not match its checksum; save the network again")
    return description, content


def _other_shape(saved: dict[str, dict[str, Any]], model: nn.Module) -> str | None:
    """Describe the first tensor of the dense network that the builder builds differently, or return None."""
    mine = {key: t for key, t in model.state_dict().items() if isinstance(t, torch.Tensor)}
    for key in [*saved, *(k for k in mine if k not in saved)]:
        layer, _, name = key.rpartition(".")
        if key not in saved:
            return f"layer '{layer}' has a tensor '{name}', which is not in the file"
        try:
            shape = list(tensor_of(model, key).shape)
        except AttributeError:
            return f"layer '{layer}' has no tensor '{name}'"
        if shape != saved[key]["dense"]:
            return (
                f"layer '{layer}' has a {name} of shape {tuple(shape)}, and the network that was made "
                f"compact had {tuple(saved[key]['dense'])}"
            )
    return None


def _other_ties(shared: dict[str, str], model: nn.Module) -> str | None:
    """Describe two tensors that are one in the file but not in the network of the builder, or return None."""
    for key, first in shared.items():
        if tensor_of(model, key) is not tensor_of(model, first):
            return f"'{key}' and '{first}' are one tensor in the file"
    return None
