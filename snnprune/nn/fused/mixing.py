"""Classes made while the program runs: a known class of layers, mixed with what makes it faster."""

from __future__ import annotations

import functools
from typing import Any, ClassVar


class Mixed:
    """What is mixed into a class of layers.

    Attributes:
        plain: the class that it is mixed into, which a module has again when all is undone.
        ways: attributes that say how a module computes and not what, so that none of them is saved with it.
    """

    plain: Any
    ways: ClassVar[frozenset[str]] = frozenset({"channels_last"})

    def __reduce_ex__(self, _protocol: Any) -> Any:
        """Let copies and files name the plain class: this one is made while the program runs."""
        mixin = type(self).__bases__[0]
        return _again, (mixin, self.plain), self.__dict__


@functools.cache
def mixed(mixin: Any, plain: Any) -> Any:
    """Return the class of layers like ``plain`` that is mixed with ``mixin``, the same one every time."""
    return type(plain.__name__, (mixin, plain), {"plain": plain, "__module__": plain.__module__})


def _again(mixin: Any, plain: Any) -> Any:
    kind = mixed(mixin, plain)
    return kind.__new__(kind)
