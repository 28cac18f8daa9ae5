"""Records of reports that earlier versions wrote, brought to today's version."""

from collections.abc import Mapping
from typing import Any

__all__ = ["upgraded"]


def upgraded(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record of this version."""
    return dict(record)
