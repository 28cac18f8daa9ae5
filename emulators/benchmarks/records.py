"""Records of reports that earlier versions wrote, brought to what today's tables and pages read."""

from collections.abc import Mapping
from typing import Any

__all__ = ["completed"]

_SPEED: Mapping[str, Any] = {
    "emulator": None,
    "why_not": None,
    "start_up": (),
    "scaling": None,
    "fresh_why_not": None,
    "reference": None,
    "reference_why_not": None,
    "reference_seconds_per_sample": None,
    "reference_samples_per_simulation": None,
}
_TIMED: Mapping[str, Any] = {
    "cpu_seconds_per_sample": None,
    "cpu_spread": None,
    "joules_per_sample": None,
    "energy_of": (),
    "speed_up": None,
}


def completed(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record in which what its version did not measure is there, and empty.

    The first records were of showers, and did not say it; tables and figures leave out what is
    empty.  Nothing that was measured is changed.
    """
    speed = {**_SPEED, **record["throughput"]}
    own = {**_TIMED, "threads": record["machine"]["torch_threads"]}
    speed["emulator"] = speed["emulator"] and [{**own, **timed} for timed in speed["emulator"]]
    kind = record.get("kind", "shower")
    absent: dict[str, Any] = {}
    if kind == "shower":
        absent = {"correlations": None, "critic": None, "conditional": (), "diagnosis": ()}
        absent["features"] = {}
    return {**absent, **record, "kind": kind, "throughput": speed}
