"""Where the samples of a file come from, and which samples a training has read.

A file that is made out of another says ``source`` (its name), ``source_sha256``, ``source_samples``
(how many it has) and ``source_rows`` (which of them); ``origins`` is a JSON list of the same of the
files before that, newest first.  A source that was joined from several files says ``joined``, a
list with the same of each.  The card of an emulator, and in the attributes ``training_*`` every
file that it generates, says these of the data that it was trained on and of those that its start
was, and has the hashes of all samples that they read.  Those decide: what a sample holds is the
same in every copy.  Of emulators that have no hashes, older ones, the sources are followed back to
the file that was trained on.
"""

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emulators.data.dataset import Dataset, split_rows
from emulators.data.hashes import Hashes

__all__ = [
    "Read",
    "Training",
    "origins",
    "read_samples",
    "same_samples",
    "taken_from",
    "training_attributes",
    "training_hashes",
    "training_of",
    "training_record",
    "without_source",
]

SOURCE = ("source", "source_sha256", "source_samples", "source_rows", "joined")
READ = ("train", "validation")  # learned from, and looked at to choose the best state
LEVEL = ("data_file", "data_sha256", "split", "origins")  # of a card, of every start

Rows = npt.NDArray[np.int64]
Card = Mapping[str, Any]


# -- files of samples -----------------------------------------------------------------------------


def origins(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what a file's attributes say of the files that its samples come from, newest first."""
    last: dict[str, Any] = {k: str(attributes[k]) for k in SOURCE if k in attributes}
    last |= {k: int(last[k]) for k in ("source_samples",) if last.get(k, "").isdecimal()}
    last |= {k: _listed(last[k]) for k in ("joined",) if k in last}
    return ([last] if last else []) + _listed(attributes.get("origins"))


def without_source(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes that say something else."""
    return {k: v for k, v in attributes.items() if k not in (*SOURCE, "origins")}


def taken_from(
    attributes: Mapping[str, Any], name: str, sha256: str | None, samples: int, rows: str
) -> dict[str, Any]:
    """Return what a file says of its source.

    Parameters
    ----------
    attributes
        Those of the source.
    name, sha256, samples
        Its name, hash (None: not known) and number of samples.
    rows
        Which of them: ``"0:4000"``, or as ``split`` writes it.
    """
    said: dict[str, Any] = {"source": name, "source_samples": samples, "source_rows": rows}
    said |= {"source_sha256": sha256} if sha256 else {}
    before = origins(attributes)
    return said | ({"origins": json.dumps(before)} if before else {})


def _listed(text: Any) -> list[dict[str, Any]]:
    try:
        found = json.loads(str(text)) if text is not None else []
    except ValueError:
        return []  # an attribute of this name that is not ours
    return found if isinstance(found, list) and all(isinstance(f, dict) for f in found) else []


# -- what a training has read ---------------------------------------------------------------------


@dataclass(frozen=True)
class Training:
    """What is known of the samples that an emulator was trained on, its starts included.

    Parameters
    ----------
    hashes
        Of the samples, and of what they were cut from, by part of the split (`READ`).
    unhashed
        ``data_file``, ``data_sha256`` and ``split`` of the data sets of which there are none.
    """

    hashes: Mapping[str, Hashes]
    unhashed: tuple[Card, ...]

    def __bool__(self) -> bool:
        return bool(self.hashes or self.unhashed)


def training_record(dataset: Dataset, parts: Mapping[str, Rows], start: Card) -> dict[str, Any]:
    """Return what a card says of the samples read, beside the hash of the file and its split.

    Parameters
    ----------
    dataset, parts
        The training data, and their rows by part of the split.
    start
        The card of the emulator that the training starts from; empty where there is none.
    """
    hashes = {}
    before = training_hashes(start)
    for part in READ:
        rows = parts[part]
        found = [dataset.hashes[rows], dataset.ancestors[rows], before.get(part, _none())]
        hashes[part] = _packed(np.setdiff1d(np.concatenate(found), [0]))
    record = {"origins": origins(dataset.attributes), "hashes": hashes}
    return record | ({"start": _level(start)} if start else {})


def _level(card: Card) -> dict[str, Any]:
    level = {k: card[k] for k in LEVEL if k in card} | {"hashed": "hashes" in card}
    return level | ({"start": start} if (start := _start(card)) else {})


def _start(card: Card) -> Card:
    """Return what a card says of the start; older ones say no more than its name."""
    name = card.get("recipe", {}).get("training", {}).get("start")
    return card.get("start") or ({"data_file": f"the data of its start '{name}'"} if name else {})


def training_hashes(card: Card) -> dict[str, Hashes]:
    """Return the hashes that a card has, by part of the split."""
    return {
        part: np.frombuffer(base64.b64decode(text), "<u8").astype(np.uint64)
        for part, text in card.get("hashes", {}).items()
    }


def training_attributes(card: Card) -> dict[str, str]:
    """Return what a generated file says of the data that its emulator was trained on."""
    said = {
        "training_data_file": str(card.get("data_file", "")),
        "training_data_sha256": str(card.get("data_sha256", "")),
        "training_split": json.dumps(card.get("split", {})),
    }
    before = {"training_origins": card.get("origins"), "training_start": _start(card)}
    return said | {key: json.dumps(value) for key, value in before.items() if value}


def training_of(said: Mapping[str, Any], hashes: Mapping[str, Hashes]) -> Training:
    """Return what is known of a training; false: nothing.

    Parameters
    ----------
    said, hashes
        The attributes of a generated file and its `Dataset.training`; of a card,
        `training_attributes` and `training_hashes`.
    """
    own = {
        "data_file": str(said.get("training_data_file", "")),
        "data_sha256": str(said.get("training_data_sha256", "")),
        "split": _parsed(said.get("training_split")),
        "start": _parsed(said.get("training_start")),
        "hashed": bool(hashes),
    }
    levels = list(_levels(own)) if own["data_sha256"] else []
    hashed = [_data(level) for level in levels if own["hashed"] and level.get("hashed")]
    # What a start read of the same data in the same split is among the hashes of these.
    unhashed = [level for level in levels if _data(level) not in hashed]
    return Training(hashes, tuple(unhashed))


def _levels(card: Card) -> Iterator[Card]:
    while card:
        yield card
        card = card.get("start") or {}


def _data(level: Card) -> Any:
    split = level.get("split") or {}
    return level.get("data_sha256"), [split.get(k) for k in ("validation", "test", "seed")]


def _parsed(text: Any) -> dict[str, Any]:
    try:
        found = json.loads(str(text)) if text is not None else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _packed(hashes: Hashes) -> str:
    return base64.b64encode(hashes.astype("<u8").tobytes()).decode()


def _none() -> Hashes:
    return np.empty(0, np.uint64)


@dataclass(frozen=True)
class Read:
    """Which samples of a file a training has read.

    Parameters
    ----------
    train
        Whether it learned from each, ``(n,)``.
    any
        Whether it read each for anything.
    unknown
        Data sets that it read, of which it cannot be told whether they have samples of this file.
    """

    train: npt.NDArray[np.bool_]
    any: npt.NDArray[np.bool_]
    unknown: tuple[str, ...]


def read_samples(dataset: Dataset, training: Training) -> Read:
    """Tell which samples of a file a training has read: those it was given, in any copy.

    Of fields also those that are cut from a box of which it read a piece, and those of one
    simulation with one that it read.
    """
    found = {part: np.zeros(len(dataset), bool) for part in READ}
    unknown = []
    for part, hashes in training.hashes.items():
        found[part] |= np.isin(dataset.hashes, hashes) | np.isin(dataset.ancestors, hashes)
    for level in training.unhashed:
        parts = _parts(dataset, level)
        if parts is None:
            unknown.append(level.get("data_file") or f"SHA-256 {level['data_sha256'][:12]}...")
        for part, rows in (parts or {}).items():
            found[part][rows] = True
    if (numbers := dataset.simulations) is not None:
        found = {k: np.isin(numbers, numbers[rows]) for k, rows in found.items()}
    train, validation = (found[part] for part in READ)
    return Read(train, train | validation, tuple(unknown))


def same_samples(dataset: Dataset, hashes: Hashes) -> npt.NDArray[np.bool_]:
    """Return which samples have one of these hashes, ``(n,)``; those of equal values never do."""
    same: npt.NDArray[np.bool_] = np.isin(dataset.hashes, hashes) & (dataset.hashes != 0)
    return same


# -- by the files that samples were taken from ----------------------------------------------------


def _parts(dataset: Dataset, level: Card) -> dict[str, Rows] | None:
    """Return the rows of a file that were read out of its source; None: it cannot be told."""
    split = level.get("split") or {}
    sha256 = level.get("data_sha256", "")
    same = sha256 == dataset.sha256
    if not {"validation", "test", "seed"} <= split.keys():
        return {"train": np.arange(len(dataset))} if same else None
    shares = {k: split[k] for k in ("validation", "test", "seed")}
    if same:
        parts = dataset.split(**shares)
    else:
        place = _place(dataset, sha256) if sha256 else None
        if place is None:
            return None
        where, simulations = place
        total = simulations or sum(split.get("rows", {}).values())
        if not total:
            return None
        cut = split_rows(total, **shares)
        parts = {k: np.flatnonzero(np.isin(where, rows)) for k, rows in cut.items()}
    return {part: parts[part] for part in READ}


def _place(dataset: Dataset, sha256: str) -> tuple[Rows, int] | None:
    """Return which row of a file that it comes from each row is, and 0.

    Or, where simulations were split: which of its simulations, and how many it has.
    """
    rows: Rows | None = np.arange(len(dataset))
    numbers = dataset.column("simulation") if "simulation" in dataset.beside else rows
    known, simulation = np.unique(np.asarray(numbers), return_inverse=True)
    length, count, together = len(dataset), len(known), dataset.simulations is not None
    for step in origins(dataset.attributes):
        said, samples = str(step.get("source_rows", "")), step.get("source_samples", 0)
        if taken := re.fullmatch(r"(\d+):(\d+)", said):
            first, last = int(taken[1]), int(taken[2])
            if last - first != length:
                return None
            rows = None if rows is None else rows + first
            count = count if samples == length else 0  # how many simulations it has is not said
        elif taken := re.fullmatch(r"(simulations of )?split_rows\((\d+), (.*)\)\['(\w+)'\]", said):
            named = dict(re.findall(r"(\w+)=([\d.e-]+)", taken[3]))
            shares = float(named["validation"]), float(named["test"])
            part = split_rows(int(taken[2]), *shares, int(named["seed"])).get(taken[4], _rows())
            if len(part) != (count if taken[1] else length):
                return None
            if taken[1]:
                simulation, rows, count, together = part[simulation], None, int(taken[2]), True
            else:
                rows, count = None if rows is None else part[rows], 0
                samples = int(taken[2])
        else:
            return None
        if step.get("source_sha256") == sha256:
            if together:
                return (simulation, count) if count else None
            return None if rows is None else (rows, 0)
        if not samples:
            return None  # written by a version that kept no more
        length = samples
    return None


def _rows() -> Rows:
    return np.empty(0, np.int64)
