"""Counts in single precision: no particle is lost, or it is said."""

from typing import Any

import numpy as np
import numpy.typing as npt

from emulators.errors import InputError

__all__ = ["COUNTS", "LARGEST", "counted", "rounded_counts"]

COUNTS = ("count", "ct")  # units of what cannot be negative
LARGEST = 1 << 24  # single precision holds every whole number up to here, not all beyond


def rounded_counts(values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return which counts single precision would change, although they are that large."""
    changed: npt.NDArray[np.bool_] = np.zeros(values.shape, bool)
    if values.dtype != np.float32:
        with np.errstate(over="ignore", invalid="ignore"):
            large = (values > LARGEST) & (values <= np.finfo(np.float32).max)
            changed[large] = values[large].astype(np.float32).astype(values.dtype) != values[large]
    return changed


def counted(values: npt.NDArray[Any], where: str, advice: str) -> npt.NDArray[np.float32]:
    """Return counts in single precision; InputError where particles would be lost.

    Parameters
    ----------
    values
        Counts, of any shape and type.
    where, advice
        For the message: what holds them, and what to do.
    """
    changed = rounded_counts(values)
    if n := int(changed.sum()):
        raise InputError(
            f"{where}: {n:,} cell{'s' if n > 1 else ''} of more than {LARGEST:,} counts, up to "
            f"{values[changed].max():,.0f}, would lose or gain some in single precision: {advice}"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(np.float32, copy=False)
