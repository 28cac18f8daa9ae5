"""Other samples that are measured beside the emulator's, against the same reference."""

from collections.abc import Iterator
from pathlib import Path

from emulators.benchmarks.pair import Pair
from emulators.emulator import Emulator

__all__ = ["others"]


def others(
    pair: Pair, emulator: Emulator | None, folder: Path, seed: int
) -> Iterator[tuple[str, Pair]]:
    """Yield the untrained start of an emulator and a baseline, each with its name."""
    yield from ()
