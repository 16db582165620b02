"""Which method a pruner has: by name or as an object, and with a target that can be reached."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

from snnprune.common.errors import UserError
from snnprune.config.names import METHODS, build, options_of
from snnprune.pruning.aims import OPTIONS
from snnprune.pruning.method import CriterionMethod, Method

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snnprune.pruning.reach import OutOfReachError
    from snnprune.pruning.target import Target


def method_of(method: str | Method, options: Mapping[str, Any]) -> Method:
    """Return the method called ``method`` with its ``options``, or ``method`` itself if it is an object.

    Raises:
        UserError: the method or an option is unknown, ``method`` is neither a name nor a `Method`, or options
            came beside a method object.
    """
    named = isinstance(method, str)
    made = build(METHODS, "method", method, options) if isinstance(method, str) else method
    if not isinstance(made, Method):
        raise UserError(
            "method must be a name, such as 'dpap', or an object, such as DPAP(target=0.6), "
            f"came {method!r:.80}"
        )
    if options and not named:
        name = type(made).__name__
        raise UserError(
            f"options go with the name of a method, and {sorted(options)} came beside a {name} object: pass "
            f"them to its class, as in {name}({next(iter(options))}=...)"
        )
    if "structured" in options and isinstance(made, CriterionMethod) and not (made.neurons and made.synapses):
        warnings.warn(
            f"structured={options['structured']} has no effect: it divides the target between units and "
            f"synapses, and this '{method}' prunes only {'units' if made.neurons else 'synapses'}"
            + ("; unit='both' prunes both" if "unit" in options_of(METHODS, "method", str(method)) else ""),
            stacklevel=3,
        )
    return made


def within_reach(
    error: OutOfReachError, asked: str | Method, options: Mapping[str, Any], usual: Target | None
) -> Method:
    """Return the method with what can be reached of its ``usual`` target, and warn.

    Raises:
        OutOfReachError: ``error``, where a target was given, or nothing can be reached.
    """
    given = OPTIONS.keys() & options.keys()
    if usual is None or given or not isinstance(asked, str) or error.most <= 0.0:
        raise error
    share = math.floor(1000 * usual.rate * error.most) / 1000
    warnings.warn(
        f"no target was given, and {error}; {share:g} is taken, {usual.rate:.0%} of what can be pruned",
        stacklevel=4,
    )
    return method_of(asked, {**options, "target": share})
