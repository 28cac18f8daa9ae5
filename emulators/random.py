"""The one source of randomness: numbers addressed by coordinates, never by call order.

``stream(seed, *coordinates)`` is a generator that depends on its arguments alone.  Generation draws
its noise in blocks of samples (see `block`) addressed by the index of the sample, so that sample
``i`` depends on ``(seed, i)`` and not on batch size, device, shard or resume.
"""

import hashlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

__all__ = ["BLOCK", "block", "normals", "stream", "uniforms"]

BLOCK = 256  # samples that share one stream, at most
NUMBERS = 1 << 20  # that are drawn from one stream for samples that take very many


def block(width: int) -> int:
    """Return how many samples of ``width`` numbers share one stream.

    That is also the unit in which generation evaluates a network.
    """
    return max(1, min(BLOCK, NUMBERS // max(1, width)))


Draw = Callable[[np.random.Generator, npt.NDArray[np.float32]], object]  # fills the array


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

    Examples
    --------
    >>> first, second = (stream(3, "noise", 12).integers(0, 100, 4).tolist() for _ in range(2))
    >>> first == second
    True
    """
    digest = hashlib.sha256(repr((int(seed), coordinates)).encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))


def normals(seed: int, name: str, start: int, stop: int, width: int) -> npt.NDArray[np.float32]:
    """Return standard normal numbers of samples ``start`` to ``stop``, shape ``(n, width)``."""
    return _blocks(
        seed, name, start, stop, width, lambda g, out: g.standard_normal(dtype=np.float32, out=out)
    )


def uniforms(seed: int, name: str, start: int, stop: int, width: int) -> npt.NDArray[np.float32]:
    """Return numbers uniform in [0, 1) of samples ``start`` to ``stop``, shape ``(n, width)``."""
    return _blocks(
        seed, name, start, stop, width, lambda g, out: g.random(dtype=np.float32, out=out)
    )


def _blocks(
    seed: int, name: str, start: int, stop: int, width: int, draw: Draw
) -> npt.NDArray[np.float32]:
    out = np.empty((stop - start, width), np.float32)
    size = block(width)
    for number in range(start // size, -(-stop // size)):
        first, last = max(start, number * size), min(stop, (number + 1) * size)
        wanted, skipped = out[first - start : last - start], first - number * size
        # Philox fills in row order: rows past `last` need not be drawn.
        rows = np.empty((skipped + len(wanted), width), np.float32) if skipped else wanted
        draw(stream(seed, name, number), rows)
        if skipped:
            wanted[:] = rows[skipped:]
    return out
