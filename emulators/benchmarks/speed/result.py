"""Speed as a chapter of a report."""

from collections.abc import Mapping
from typing import Any

from emulators.benchmarks.chapter import Result

__all__ = ["speed_result"]


def speed_result(timed: Mapping[str, Any], kind: str) -> Result:
    """Return what `measure_speed` measured as numbers and curves."""
    return Result("speed", "Throughput", "", ())
