"""The tables of CaloChallenge's figures: ours, the floor, and the published entries under them."""

from collections.abc import Mapping
from typing import Any

from emulators.benchmarks.tables import Part, short, with_error

__all__ = ["calochallenge_parts"]

_GROUPS = {
    "energy_total": "E_tot / E_inc",
    "energy_layer": "E_layer",
    "voxel": "voxel",
    "centre_eta": "centre η",
    "centre_phi": "centre φ",
    "centre_r": "centre r",
    "width_eta": "width η",
    "width_phi": "width φ",
    "width_r": "width r",
    "sparsity": "sparsity",
}
_MANIFOLD = ("precision", "recall", "density", "coverage")
_BATCHES = (1, 100, 10_000)
_NONE = "–"


def calochallenge_parts(record: Mapping[str, Any]) -> list[Part]:
    """Return the tables of a record, none where its preset was no data set of CaloChallenge."""
    if "calochallenge" not in record:
        return []
    found = record["calochallenge"]
    name = f"CaloChallenge {found['data_set']}"
    numbers = [found["distances"][k] for k in ("fpd", "precision")]
    left_out = "".join(f" Left out: {why}." for why in found["left_out"])
    return [
        (
            f"{name}: scores",
            ("entry", *_views(record), "FPD × 1e3", "KPD × 1e3", *_MANIFOLD),
            _scores(record),
            f"The first row is the generated file, by the definitions of CaloChallenge's "
            f"evaluate.py (voxels below {short(found['threshold_MeV'])} MeV empty); the second two "
            "halves of the reference, the best that can be measured; the others are published: "
            f"{found['source']}. AUC: mean and standard deviation of one training; FPD, KPD: error "
            f"of the recipe. FPD and KPD of {numbers[0]['n']:,} showers (floor "
            f"{numbers[0]['floor_n']:,}); they depend on n, the published ones are of 100,000 and "
            f"more. Precision to coverage depend on it strongly, and are here of "
            f"{numbers[1]['n']:,} showers (floor {numbers[1]['floor_n']:,}): compare them with the "
            "floor, not with published figures. GEANT4 is the challenge's second official file "
            "against its first (in data set 1-pions the two can be told apart).",
        ),
        (
            f"{name}: separation powers × 1e3",
            ("entry", *_GROUPS.values()),
            _separations(found),
            "0.5 Σ (p − q)² / (p + q) in evaluate.py's bins, entries outside them dropped, mean "
            "over the layers. Between samples of one distribution it is about bins / 2n: the floor "
            "is taken between halves of the reference, so at half of the n.",
        ),
        (
            f"{name}: speed, ms a shower",
            (
                "entry",
                "parameters",
                *(f"{device} {batch:,}" for device in ("CPU", "GPU") for batch in _BATCHES),
            ),
            _speed(record),
            "At batch 1, 100 and 10,000. Published times were taken on the challenge's machines, "
            "ours on this one with all threads: the ratio says what is usable where, not which "
            "method is better.",
        ),
        (
            f"{name}: histograms",
            (
                "histogram",
                "separation",
                "floor",
                "n ref., emul.",
                "outside ref., emul.",
                "with what is outside",
                "floor",
            ),
            [_histogram(h) for h in found["histograms"]],
            "Names and order of evaluate.py's histogram_chi2 file; radial moments and sparsity, "
            "which its published tables have, are added. Errors are bootstraps over showers, "
            f"floors means over halvings of the reference.{left_out}",
        ),
    ]


def _views(record: Mapping[str, Any]) -> list[str]:
    columns = ["AUC low", "AUC high"]
    if record["calochallenge"]["data_set"] in ("2", "3"):
        columns.append("AUC resnet")
    return columns


def _scores(record: Mapping[str, Any]) -> list[list[str]]:
    found = record["calochallenge"]
    views = [column.removeprefix("AUC ") for column in _views(record)]
    rows = []
    for label, value, error in (
        (f"this file ({_size(record, 'generated')})", "value", "error"),
        (f"floor ({_size(record, 'reference')}, halved)", "floor", "floor_error"),
    ):
        row = [label]
        for view in views:
            auc = record["classifiers"].get(view, {}).get("auc")
            row.append(_number(auc and auc[value], auc and auc[error]))
        for key in ("fpd", "kpd"):
            m = found["distances"][key]
            row.append(_number(_times(m[value]), _times(m[error])))
        for key in _MANIFOLD:
            m = found["distances"][key]
            row.append(_number(m[value], m[error]))
        rows.append(row)
    for entry in found["published"]:
        keys = [*(f"auc_{view}" for view in views), "fpd_1e3", "kpd_1e3", *_MANIFOLD]
        rows.append([_name(entry), *(_number(entry[k], entry.get(f"{k}_error")) for k in keys)])
    return rows


def _separations(found: Mapping[str, Any]) -> list[list[str]]:
    rows = []
    for label, key, error in (("this file", "value", "error"), ("floor", "floor", "floor_error")):
        row = [label]
        for group in _GROUPS:
            entries = [h["compatible"] for h in found["histograms"] if h["group"] == group]
            known = [m for m in entries if m[key] is not None and m[error] is not None]
            # the error of a mean of correlated numbers is at most the mean of theirs
            value, spread = (
                sum(m[k] for m in known) / len(known) if known else None for k in (key, error)
            )
            row.append(_number(_times(value), _times(spread)))
        rows.append(row)
    return rows + [
        [_name(entry), *(_number(_times(entry[group])) for group in _GROUPS)]
        for entry in found["published"]
    ]


def _speed(record: Mapping[str, Any]) -> list[list[str]]:
    timed: dict[tuple[str, int], tuple[float, float]] = {}
    for e in record["throughput"]["emulator"] or []:
        if not e["writing"]:  # of several numbers of threads the last, all of them
            device = "CPU" if e["device"] == "cpu" else "GPU"
            timed[device, e["batch"]] = 1e3 * e["seconds_per_sample"], 1e3 * e["spread"]
    keys = [(device, batch) for device in ("CPU", "GPU") for batch in _BATCHES]
    rows = [["this file's emulator", _NONE, *(_number(*timed.get(k, (None,))) for k in keys)]]
    if not timed:
        rows[0][0] += " (not timed)"
    for entry in record["calochallenge"]["published"]:
        if entry["parameters"] is not None:  # Geant4 has none, and was not timed
            times = [_number(entry[f"{device.lower()}_{batch}"]) for device, batch in keys]
            rows.append([_name(entry), f"{entry['parameters']:,}", *times])
    return rows


def _histogram(h: Mapping[str, Any]) -> list[str]:
    both = (h["reference"], h["generated"])
    inside, counted = h["compatible"], h["counted"]
    return [
        h["name"],
        _number(inside["value"], inside["error"]),
        _number(inside["floor"], inside["floor_error"]),
        ", ".join(f"{c['n']:,}" for c in both),
        ", ".join(f"{c['below'] + c['above']:,}" for c in both),
        _number(counted["value"], counted["error"]),
        _number(counted["floor"], counted["floor_error"]),
    ]


def _size(record: Mapping[str, Any], which: str) -> str:
    return f"n = {record['files'][which]['used']:,}"


def _name(entry: Mapping[str, Any]) -> str:
    return f"{entry['entry']} (GAN)" if entry["gan"] else str(entry["entry"])


def _times(value: float | None) -> float | None:
    return None if value is None else 1e3 * value


def _number(value: float | None, error: float | None = None) -> str:
    if value is None:
        return _NONE
    return short(value) if error is None else with_error(value, error)
