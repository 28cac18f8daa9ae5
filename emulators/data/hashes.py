"""What a sample holds, as one number: equal samples are recognised in any file."""

import hashlib
import math

import numpy as np
import numpy.typing as npt

from emulators.data.spec import Column

__all__ = ["ANCESTOR", "ANCESTOR_COLUMN", "TRAINING", "Hashes", "leading", "sample_hashes"]

Hashes = npt.NDArray[np.uint64]

ANCESTOR = "ancestor_hash"  # key of a column that pieces of boxes have
ANCESTOR_COLUMN = Column(
    (), "", "hash of the first sample of the simulation that it is from", dtype="u8"
)
TRAINING = "training"  # the group in which a generated file keeps what its emulator has read
LARGEST = 1 << 24  # values of a sample that are hashed: a part of a large box tells it from others


def leading(shape: tuple[int, ...]) -> int:
    """Return how many planes along the first axis of cells are hashed of a field this large."""
    return (
        shape[1] if math.prod(shape) <= LARGEST else max(1, LARGEST * shape[1] // math.prod(shape))
    )


def sample_hashes(values: npt.NDArray[np.float32]) -> Hashes:
    """Return 64 bits of the BLAKE2 hash of the float32 values of each sample.

    Parameters
    ----------
    values
        Shape ``(n, cells)`` of showers or ``(n, channels, *cells)`` of fields, as `Samples` has.

    Returns
    -------
    Shape ``(n,)``.  0 where all values are alike: empty showers are not copies of each other.
    """
    if values.ndim > 2:
        values = values[:, :, : leading(values.shape[1:])]
    rows = np.ascontiguousarray(values, "<f4").reshape(len(values), math.prod(values.shape[1:]))
    rows = rows + np.float32(0)  # -0 becomes 0
    digests = b"".join(hashlib.blake2b(row.data, digest_size=8).digest() for row in rows)
    return np.where((rows == rows[:, :1]).all(1), 0, np.frombuffer(digests, "<u8")).astype(
        np.uint64
    )
