"""Classes that are made at run time: a class of layers with a mixin that makes it faster."""

from __future__ import annotations

import functools
from typing import Any, ClassVar


class Mixed:
    """Base of the mixins for classes of layers.

    Attributes:
        plain: the original class, which `restore` gives back to a module.
        ways: attributes that say how a module computes, not what; they are not saved with a network.
    """

    plain: Any
    ways: ClassVar[frozenset[str]] = frozenset({"channels_last"})

    def __reduce_ex__(self, _protocol: Any) -> Any:
        """Make copies and files name the plain class, because this class is made at run time."""
        mixin = type(self).__bases__[0]
        return _again, (mixin, self.plain), self.__dict__


@functools.cache
def mixed(mixin: Any, plain: Any) -> Any:
    """Return the class ``plain`` with ``mixin``. It is the same class at every call."""
    return type(plain.__name__, (mixin, plain), {"plain": plain, "__module__": plain.__module__})


def _again(mixin: Any, plain: Any) -> Any:
    kind = mixed(mixin, plain)
    return kind.__new__(kind)
