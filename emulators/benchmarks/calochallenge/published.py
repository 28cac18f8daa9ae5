"""The final results of CaloChallenge: what its entries reached, to be set beside one's own.

Plain data in ``published.csv``, whose head says where each column is from.

References
----------
Krause et al., arXiv:2410.21611.
"""

import csv
from pathlib import Path
from typing import Any

__all__ = ["SOURCE", "published"]

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
