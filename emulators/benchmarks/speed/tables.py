"""The tables of speed, and what to know about them, drawn from the record."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["device_name", "throughput_parts"]

Part = tuple[str, Sequence[str], list[list[str]], str]  # title, headings, rows, note
PARTS = {
    "python": "Python itself",
    "import": "imports",
    "load": "loading the emulator",
    "first_sample": "the first sample",
}


def throughput_parts(record: Mapping[str, Any]) -> list[Part]:
    """Return the tables of speed: title, headings, rows, note; those for which there is something.

    The first is always there.
    """
    parts = [_speed(record), _start_up(record), _scaling(record)]
    return [part for part in parts if part]


def device_name(entry: Mapping[str, Any]) -> str:
    """Return what an entry of the record ran on, in words."""
    if entry["device"] != "cpu":
        return str(entry["device"]).upper()
    return f"CPU, {entry['threads']} thread{'s' if entry['threads'] > 1 else ''}"


def _speed(record: Mapping[str, Any]) -> Part:
    one, found = record["kind"], record["throughput"]
    timed, reference = found["emulator"] or [], found["reference"]
    recorded = found["reference_seconds_per_sample"]
    rows = []
    for e in timed:
        speed_up = "not known"
        if e["speed_up"]:
            speed_up = _both(e["speed_up"]["value"], e["speed_up"]["error"])
        elif recorded:
            speed_up = f"{recorded / e['seconds_per_sample']:,.0f}, not measured"
        rows.append(
            [
                f"emulator, batch {e['batch']:,}" + (", into a file" if e["writing"] else ""),
                device_name(e),
                *_times(e, "spread", "cpu_spread"),
                speed_up,
                f"{e['repeats']:,} repeats",
            ]
        )
    if reference:
        own = [*_times(reference, "error", "cpu_error"), "1"]
        n = f"{reference['simulations']:,} simulations"
        rows.append(["simulation, run here", "CPU, 1 thread", *own, n])
    if recorded or not reference:
        words, speed = (
            (f"{1e3 * recorded:.4g}", _rate(recorded)) if recorded else ("not recorded", "")
        )
        one_is = "1" if recorded and timed and not reference else ""
        rows.append(["simulation, as its file records", "", words, "", speed, "", one_is, ""])
    headings = ["what", "on", f"ms / {one}", f"CPU ms / {one}", f"{one}s / s", f"{one}s / Wh"]
    headings += ["speed-up", "n"]
    told = any(e["joules_per_sample"] for e in [*timed, *([reference] if reference else [])])
    if not told:
        headings, rows = _without(headings, 5), [_without(row, 5) for row in rows]
    return "Throughput", headings, rows, "\n".join(_notes(record, told))


def _times(entry: Mapping[str, Any], error: str, cpu_error: str) -> list[str]:
    """Return the cells of times, speed and energy of an emulator or a simulation."""
    cells = [
        ""
        if entry[key] is None
        else _both(1e3 * entry[key], None if entry[of] is None else 1e3 * entry[of])
        for key, of in (("seconds_per_sample", error), ("cpu_seconds_per_sample", cpu_error))
    ]
    return [*cells, _rate(entry["seconds_per_sample"]), _per_watt_hour(entry)]


def _notes(record: Mapping[str, Any], told: bool) -> list[str]:
    one, found = record["kind"], record["throughput"]
    timed, reference = found["emulator"], found["reference"]
    notes = []
    if timed:
        largest = max(e["batch"] for e in timed)
        usual = f"Batch 1 is what a full simulation uses, where {one}s are asked for one by one"
        if one == "field":
            usual = "Batch 1 is a single field, asked for when it is needed"
        notes += [
            "From the request to the samples in memory, at the conditions of the compared samples, "
            "after a warm-up; by the clock, and in CPU time of all threads. Median of the "
            "repeats ± half their range from 16 % to 84 %.",
            f"{usual}; batch {largest:,} is production in bulk.",
        ]
        if largest < 10_000:
            notes.append("Larger batches would take too long or too much memory.")
    elif found["why_not"]:
        notes.append(f"Not timed: {found['why_not']}")
    if reference:
        failed = f", {reference['failed']} more failed" if reference["failed"] else ""
        notes.append(
            f"The simulation ({reference['generator']}; {reference['source']}) was run here too, "
            f"with one thread, at {reference['conditions']}: {reference['simulations']:,} "
            f"simulations{failed}, mean ± standard error"
            + (", from a line through costs against energies." if reference["regressed"] else ".")
        )
        if timed:
            notes.append(
                "The speed-up of an emulator on one thread of the CPU is at equal conditions, CPU "
                "seconds over CPU seconds; other rows set one core against what they ran on, by "
                "the clock. Its error is that of both, in quadrature."
            )
    else:
        if found["reference_why_not"]:
            notes.append(found["reference_why_not"])
        if timed and found["reference_seconds_per_sample"]:
            notes.append(
                "The simulation's time was recorded when its file was made, perhaps on another "
                "machine: the speed-up is no measurement of this report."
            )
    if timed or reference:
        names = {name for e in timed or () for name in e["energy_of"]}
        names |= set(reference["energy_of"]) if reference else set()
        notes.append(
            f"Energy by the counters of {', '.join(sorted(names))}: of the whole device, idle "
            "power and other programs included."
            if told
            else "Energy: not told by this machine."
        )
        notes.append(
            "Times have no floor. They are those of this machine, as busy as it was: another run "
            "may differ by more than the errors."
        )
    if found["fresh_why_not"]:
        notes.append(f"Start-up and several processes were not timed: {found['fresh_why_not']}.")
    shared = found["reference_samples_per_simulation"]
    if reference and reference["samples_per_simulation"] > 1:
        shared = reference["samples_per_simulation"]
    if shared:
        notes.append(
            f"One simulation gave {shared:.3g} {one}s of the reference: its cost is shared among "
            "them."
        )
    return notes


def _start_up(record: Mapping[str, Any]) -> Part | None:
    found, rows = record["throughput"], []
    for one in found["start_up"]:
        on, n = one["device"].upper(), f"{one['n']} fresh processes"
        total = one["seconds"]["total"]
        rows.append(
            [f"{on}: to the first sample, s", *_numbers(total["median"], total["spread"]), n]
        )
        for key, words in PARTS.items():
            part = one["seconds"][key]
            rows.append([f"{on}: of which {words}, s", *_numbers(*part.values()), n])
        of = (("peak_bytes", "peak memory"), ("accelerator_peak_bytes", "peak of its own memory"))
        for key, words in of:
            for value, batch in zip(one[key], (1, one["batch"])):
                if value is not None or key == "peak_bytes":
                    text = "not told by this machine" if value is None else f"{value / 1e6:,.0f}"
                    what = f"{on}: {words}, batch {batch:,}, MB"
                    rows.append([what, text, "", "1 fresh process"])
    if found["reference"]:
        what = "simulation: its start, s"
        rows.append([what, f"{found['reference']['start']:.2g}", "", "1 fresh process"])
    if not rows:
        return None
    note = (
        "Once a process, before the times above; median, error: half the range from 16 % to 84 %."
    )
    return "Start-up and memory", ("what", "value", "error", "n"), rows, note


def _scaling(record: Mapping[str, Any]) -> Part | None:
    found, one = record["throughput"]["scaling"], record["kind"]
    if not found:
        return None
    rows = []
    for row in found["rows"]:
        rows.append(
            [
                f"{row['processes']}",
                *_numbers(row["samples_per_second"], row["spread"]),
                *_numbers(100 * row["efficiency"], 100 * row["error"]),
            ]
        )
    headings = ("processes", f"{one}s / s, together", "error", "efficiency, %", "error")
    most = found["rows"][-1]["processes"]
    note = (
        f"Each with one thread on the CPU and batches of {found['batch']:,}, at once; "
        f"{found['cores']} cores may be used. Efficiency: over as many times one process."
    )
    if most < found["cores"]:
        note += " More do not fit into half of the free memory."
    return "Several processes at once", headings, rows, note


def _numbers(value: float, error: float | None) -> list[str]:
    """Write a number to the second digit of its error, and the error."""
    if not error:
        return [f"{value:,.4g}" if value < 1e4 else f"{value:,.0f}", "" if error is None else "0"]
    digits = max(0, 1 - math.floor(math.log10(error)))
    return [f"{x:,.{digits}f}" for x in (value, error)]


def _both(value: float, error: float | None) -> str:
    return " ± ".join(text for text in _numbers(value, error) if text)


def _rate(seconds: float) -> str:
    return f"{1 / seconds:,.0f}" if seconds < 0.1 else f"{1 / seconds:.3g}"


def _per_watt_hour(entry: Mapping[str, Any]) -> str:
    used = entry["joules_per_sample"]
    return f"{3600 / used:,.3g}" if used else "not told"


def _without(row: list[str], column: int) -> list[str]:
    return row[:column] + row[column + 1 :]
