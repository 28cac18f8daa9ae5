"""Which samples of a reference the training has read, and which generated ones are copies."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from emulators.data.dataset import Dataset
from emulators.data.origins import read_samples, same_samples, training_of
from emulators.errors import InputError

__all__ = ["Seen", "copies_in_words", "unseen"]

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Seen:
    """Which rows of the reference are compared, which the training learned from, in words.

    ``copies`` counts the generated samples that are, value for value, samples of the
    ``reference`` that are compared, or samples that the ``training`` read.
    """

    rows: Rows
    trained: Rows
    words: str
    copies: Mapping[str, int]


def unseen(generated: Dataset, reference: Dataset, warnings: list[str]) -> Seen:
    """Leave out the reference samples that the training has read; say what cannot be told.

    Raises
    ------
    InputError
        One file has all of the other's samples.
    """
    training, n, what = training_of(generated), len(reference), f"{reference.spec.kind}s"
    read = read_samples(reference, training)
    rows, trained = np.flatnonzero(~read.any), np.flatnonzero(read.train)
    untold = ""
    if not training:
        untold = "the generated file does not say what its emulator was trained on"
    elif read.unknown:
        untold = (
            f"this file is not its training data ({', '.join(read.unknown)}), and does not say "
            "which of them it holds, if any"
        )
        warnings.append(
            f"Whether the training saw {what} of the reference cannot be told: {untold}."
        )
    if not len(rows):
        warnings.append(
            f"The emulator was trained on the {what} of the reference, and none of them was held "
            f"out for testing: a memorised {reference.spec.kind} would look perfect. Compare with "
            f"{what} that the training did not see."
        )
        rows = np.arange(n)
        words = f"all {what} of the file, which the emulator was trained on"
    else:
        chosen = f"all {n:,} {what} of the file"
        if len(rows) < n:
            chosen = f"{len(rows):,} of the {n:,} {what} of the file: the training read the others"
        if untold:
            words = f"{chosen}; whether it saw these cannot be told: {untold}"
        else:
            words = (
                f"{chosen}; it did not see these"
                if len(rows) < n
                else (f"{chosen}, which the training did not see")
            )
    return Seen(rows, trained, words, _copies(generated, reference, rows, trained))


def _copies(generated: Dataset, reference: Dataset, rows: Rows, trained: Rows) -> dict[str, int]:
    compared, learned = reference.hashes[rows], reference.hashes[trained]
    learned = np.concatenate([learned, *generated.training.values()])
    copied, what = same_samples(generated, compared), f"{reference.spec.kind}s"
    if copied.all() or same_samples(reference, generated.hashes)[rows].all():
        raise InputError(
            f"{generated.path}: {int(copied.sum()):,} of its {len(generated):,} {what} are {what} "
            f"of {reference.path}, value for value: a file cannot be measured against itself; "
            f"give {what} that an emulator has generated"
        )
    of_training = same_samples(generated, learned) & ~copied
    return {"reference": int(copied.sum()), "training": int(of_training.sum())}


def copies_in_words(copies: Mapping[str, int], n: int, what: str) -> list[str]:
    """Return a sentence on each kind of copies among ``n`` generated samples."""
    whose = {"reference": f"{what} of the reference", "training": f"{what} that were trained on"}
    return [
        f"{copies[name]:,} of {n:,} generated {what} are {words}, value for value"
        for name, words in whose.items()
        if copies.get(name)
    ]
