"""The final results of CaloChallenge: what its entries reached, to be set beside one's own.

Plain data in ``published.csv``, whose head says where each column is from.

References
----------
Krause et al., arXiv:2410.21611.
"""

import csv
from pathlib import Path
from typing import Any

__all__ = ["SOURCE", "published", "published_aucs", "published_column"]

Entries = tuple[tuple[str, float, float | None], ...]  # name, value, error, as a Number's `beside`

SOURCE = "Krause et al., arXiv:2410.21611"

_FILE = Path(__file__).with_suffix(".csv")
_OTHERS = ("dataset", "entry", "gan", "parameters")  # no floating-point numbers


def published(data_set: str) -> list[dict[str, Any]]:
    """Return the entries of a data set, Geant4 first.

    Parameters
    ----------
    data_set
        ``1-photons``, ``1-pions``, ``2`` or ``3``.

    Returns
    -------
    For each its name ``entry``, whether it is a ``gan``, and numbers by the names of the columns;
    None where there is none.
    """
    with _FILE.open(newline="") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    return [
        {"entry": row["entry"], "gan": row["gan"] == "yes"}
        | {"parameters": int(row["parameters"]) if row["parameters"] else None}
        | {k: float(v) if v else None for k, v in row.items() if k not in _OTHERS}
        for row in rows
        if row["dataset"] == data_set
    ]


def published_column(data_set: str, column: str) -> Entries:
    """Return name, value and error (None where none is known) of the entries that have a value.

    GANs are marked as such.
    """
    return tuple(
        (f"{e['entry']} (GAN)" if e["gan"] else e["entry"], e[column], e.get(f"{column}_error"))
        for e in published(data_set)
        if e[column] is not None
    )


def published_aucs(data_set: str) -> dict[str, Entries]:
    """Return the AUCs of the entries by the view of the classifier: ``low``, ``high``, ``resnet``.

    Mean and standard deviation of ten trainings; ``resnet`` where layers are alike.
    """
    views = {view: published_column(data_set, f"auc_{view}") for view in ("low", "high", "resnet")}
    return {view: entries for view, entries in views.items() if entries}
