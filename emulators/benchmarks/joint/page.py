"""The sections of a shower report's page on correlations and on bins of the conditions."""

from collections.abc import Mapping
from typing import Any

from emulators.benchmarks.frame import figure, folded
from emulators.benchmarks.joint import plots
from emulators.benchmarks.joint.tables import cells, joint_parts

__all__ = ["joint_sections"]


def joint_sections(record: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return key, title and content of each section."""
    if not record["correlations"]:
        return []
    first, *others = joint_parts(record)
    drawn = figure(plots.correlations(record), plots.CORRELATION_CAPTION)
    sections = [("correlations", "Correlations", drawn + folded(first))]
    if cells(record):
        content = figure(plots.conditional(record), plots.CONDITIONAL_CAPTION)
        content += "".join(f"<h3>{part[0]}</h3>{folded(part)}" for part in others)
        sections.append(("conditional", "Bins of the conditions", content))
    return sections
