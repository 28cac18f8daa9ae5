"""Which samples of a reference the training has read, and which generated ones are copies."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from emulators.data.dataset import Dataset
from emulators.data.origins import read_samples, same_samples, training_of
from emulators.errors import InputError

__all__ = ["Seen", "copies", "copies_in_words", "unseen"]

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Seen:
    """Which rows of the reference are compared, which the training learned from, in words."""

    rows: Rows
    trained: Rows
    words: str


def unseen(generated: Dataset, reference: Dataset, warnings: list[str]) -> Seen:
    """Leave out the reference samples that the training has read; say what cannot be told."""
    training = training_of(generated.attributes, generated.training)
    n, what = len(reference), f"{reference.spec.kind}s"
    read = read_samples(reference, training)
    rows, trained = np.flatnonzero(~read.any), np.flatnonzero(read.train)
    if not len(rows):
        warnings.append(
            f"The emulator was trained on the {what} of the reference, and none of them was held "
            f"out for testing: a memorised {reference.spec.kind} would look perfect. Compare with "
            f"{what} that the training did not see."
        )
        words = f"all {what} of the file, which the emulator was trained on"
        return Seen(np.arange(n), trained, words)
    words = f"all {what} of the file"
    if len(rows) < n:
        words = f"the {len(rows):,} of the {n:,} {what} of the file that are not among those read"
    if not training:
        why = "the generated file does not say what its emulator was trained on"
        words += f"; whether the training saw them cannot be told: {why}"
    elif read.unknown:
        why = (
            f"the training may have seen them, since the reference is not its data "
            f"({', '.join(read.unknown)}) and does not say which of those it holds, if any"
        )
        words += f"; whether the training saw them cannot be told: {why}"
        warnings.append(f"Whether the training saw the reference cannot be told: {why}.")
    else:
        words += ", which the training did not see"
        words += " (its test split, or not in its data)" if len(rows) < n else ""
    return Seen(rows, trained, words)


def copies(generated: Dataset, reference: Dataset, seen: Seen) -> dict[str, int]:
    """Count the generated samples that are known ones, value for value.

    Returns
    -------
    How many are samples of the ``reference`` that are compared, and how many others are samples
    that the ``training`` has read.

    Raises
    ------
    InputError
        One file has all samples of the other that are compared.
    """
    what, compared = f"{reference.spec.kind}s", reference.hashes[seen.rows]
    learned = np.concatenate([reference.hashes[seen.trained], *generated.training.values()])
    copied = same_samples(generated, compared)
    if copied.all() or same_samples(reference, generated.hashes)[seen.rows].all():
        raise InputError(
            f"{generated.path}: {int(copied.sum()):,} of its {len(generated):,} {what} are {what} "
            f"of {reference.path}, value for value: a file cannot be measured against itself; "
            f"give {what} that an emulator has generated"
        )
    others = same_samples(generated, learned) & ~copied
    return {"reference": int(copied.sum()), "training": int(others.sum())}


def copies_in_words(counts: Mapping[str, int], n: int, what: str) -> list[str]:
    """Return a sentence on each kind of copies among ``n`` generated samples."""
    whose = {"reference": f"{what} of the reference", "training": f"{what} that were trained on"}
    return [
        f"{counts[name]:,} of {n:,} generated {what} are {words}, value for value"
        for name, words in whose.items()
        if counts.get(name)
    ]
