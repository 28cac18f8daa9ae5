"""The one source of randomness: numbers addressed by coordinates, never by call order.

``stream(seed, *coordinates)`` is a generator that depends on its arguments alone.  Generation draws
its noise in blocks of `BLOCK` samples addressed by the index of the sample, so that sample ``i``
depends on ``(seed, i)`` and not on batch size, device, shard or resume.
"""

import hashlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

__all__ = ["BLOCK", "normals", "stream", "uniforms"]

BLOCK = 256  # samples that share one stream; also the unit in which generation evaluates a network

Draw = Callable[[np.random.Generator, tuple[int, int]], npt.NDArray[np.float32]]


def stream(seed: int, *coordinates: int | str) -> np.random.Generator:
    """Return the random generator at these coordinates.

    Parameters
    ----------
    seed
        Seed of the whole job, 0 or larger.
    coordinates
        What the numbers are for: names and indices, e.g. ``("noise", 12)``.

    Returns
    -------
    A Philox generator; equal arguments give equal numbers on every machine.
    """
    digest = hashlib.sha256(repr((int(seed), coordinates)).encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))


def normals(seed: int, name: str, start: int, stop: int, width: int) -> npt.NDArray[np.float32]:
    """Return standard normal numbers of samples ``start`` to ``stop``, shape ``(n, width)``."""
    return _blocks(
        seed, name, start, stop, width, lambda g, s: g.standard_normal(s, dtype=np.float32)
    )


def uniforms(seed: int, name: str, start: int, stop: int, width: int) -> npt.NDArray[np.float32]:
    """Return numbers uniform in [0, 1) of samples ``start`` to ``stop``, shape ``(n, width)``."""
    return _blocks(seed, name, start, stop, width, lambda g, s: g.random(s, dtype=np.float32))


def _blocks(
    seed: int, name: str, start: int, stop: int, width: int, draw: Draw
) -> npt.NDArray[np.float32]:
    out = np.empty((stop - start, width), np.float32)
    for block in range(start // BLOCK, -(-stop // BLOCK)):
        first, last = max(start, block * BLOCK), min(stop, (block + 1) * BLOCK)
        # Philox fills in row order: rows past `last` need not be drawn.
        rows = draw(stream(seed, name, block), (last - block * BLOCK, width))
        out[first - start : last - start] = rows[first - block * BLOCK :]
    return out
