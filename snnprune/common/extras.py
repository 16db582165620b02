"""Optional packages that exports and event files need."""

from __future__ import annotations

from importlib.util import find_spec

from snnprune.common.errors import UserError


def need(extra: str, what: str, *packages: str) -> None:
    """Check that ``packages`` are installed.

    Args:
        extra: the extra of snnprune that brings them.
        what: the feature that needs them, for the message.
        packages: their import names.

    Raises:
        UserError: one is missing; the message says what to install.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise UserError(f"{what} needs {', '.join(missing)}: pip install 'snnprune[{extra}]'")
