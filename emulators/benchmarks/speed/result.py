"""Speed as a chapter of a report: times, speed-up, start-up, memory, several processes at once."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np

from emulators.benchmarks.chapter import Result
from emulators.benchmarks.measured import Axis, Curve, Measured, Number

__all__ = ["speed_result"]

Entry = Mapping[str, Any]  # of `measure_throughput`

PARTS = {
    "python": "Python itself",
    "import": "imports",
    "load": "loading the emulator",
    "first_sample": "the first sample",
}


def speed_result(timed: Mapping[str, Any], kind: str) -> Result:
    """Return what `measure_speed` or `untimed` tells as numbers and curves.

    Times have no floor; their errors are half the range from 16 % to 84 % of the ``n`` repeats, of
    the simulation standard errors over ``n`` simulations.  The numbers, by name:

    ``time_1``, ``time``
        ms a sample by the clock, at batch 1 and at the largest batch, into memory, on one thread of
        the CPU.  Groups of ``time``: every batch, device and number of threads, and into a file.
        Without an emulator to time ``time`` is NaN and says why.
    ``cpu_time``, ``per_watt_hour``
        CPU ms a sample, and samples a watt-hour where that is told; grouped as ``time``.
    ``speed_up``
        Over the simulation where it was run here, grouped as ``time``; ``speed_up_recorded`` over
        the time that its file records, which is no measurement.
    ``simulation``
        ms a sample of the simulation: CPU time where it was run here, else as its file records; or
        absent.  Run here it has ``simulation_clock``, ``simulation_start`` (s) and, where told,
        ``simulation_per_watt_hour`` and ``simulation_recorded`` beside it.
    ``start_up``, ``memory_1``, ``memory``, ``accelerator_memory_1``, ``accelerator_memory``
        Seconds from the command to the first sample, with its parts as groups; the most MB taken at
        batch 1 and at the largest.  On other devices than the CPU with ``_cuda`` before any ``_1``.
    ``efficiency``
        Per cent, of as many processes at once as there are cores; groups: of fewer.

    Parameters
    ----------
    timed
        From `emulators.benchmarks.speed.timing`.
    kind
        What a sample is called.
    """
    entries, reference = timed["emulator"] or [], timed["reference"]
    recorded = timed["reference_seconds_per_sample"]
    measured: list[Measured] = []
    if entries:
        measured += _rates(entries, reference, recorded, kind)
        if timed["scaling"] and len(timed["scaling"]["rows"]) > 1:
            measured.append(_processes(timed["scaling"], kind))
        measured += _times(entries, reference, recorded, kind)
    else:
        why = f"not timed: {timed['why_not']}" if timed["why_not"] else ""
        measured.append(Number("time", f"time a {kind}", math.nan, unit="ms", says=why))
    measured += _simulation(reference, recorded, kind)
    for start in timed["start_up"]:
        measured += _start_up(start, kind)
    if timed["scaling"] and len(timed["scaling"]["rows"]) > 1:
        measured.append(_efficiency(timed["scaling"]["rows"]))
    return Result("speed", "Throughput", "\n".join(_notes(timed, kind)), tuple(measured))


def _device(entry: Entry) -> str:
    """Return what an entry ran on, in words."""
    if entry["device"] != "cpu":
        return str(entry["device"]).upper()
    return f"CPU, {entry['threads']} thread{'s' if entry['threads'] > 1 else ''}"


def _key(entry: Entry) -> str:
    """Return the same in a name."""
    return f"cpu_{entry['threads']}" if entry["device"] == "cpu" else str(entry["device"])


def _times(
    entries: Sequence[Entry], reference: Entry | None, recorded: float | None, kind: str
) -> Iterator[Number]:
    alone = [e for e in entries if (e["device"], e["threads"], e["writing"]) == ("cpu", 1, False)]

    def each(
        name: str, label: str, figure: Callable[[Entry], tuple[float, float | None]], **facts: Any
    ) -> Number:
        """Return the figure of the largest batch on one thread, those of all entries its groups."""

        def of(entry: Entry) -> Number:
            where = " into a file" if entry["writing"] else ""
            return Number(
                f"{_key(entry)}_{entry['batch']}{'_file' if where else ''}",
                f"batch {entry['batch']:,}{where}, {_device(entry)}",
                *figure(entry), n=entry["repeats"], **facts,
            )  # fmt: skip

        return replace(of(alone[-1]), name=name, label=label, groups=tuple(map(of, entries)))

    time = each(
        "time",
        f"time a {kind} in batches",
        lambda e: (1e3 * e["seconds_per_sample"], 1e3 * e["spread"]),
        unit="ms",
    )
    single = time.groups[list(entries).index(alone[0])]
    yield replace(single, name="time_1", label=f"time a {kind}, one by one")
    yield replace(time, leading=True)
    if all(e["cpu_seconds_per_sample"] is not None for e in entries):  # the first records: None
        yield each(
            "cpu_time",
            f"CPU time a {kind} in batches",
            lambda e: (1e3 * e["cpu_seconds_per_sample"], 1e3 * e["cpu_spread"]),
            unit="ms",
        )
    if reference:
        speed_up = each(
            "speed_up",
            "speed-up over the simulation",
            lambda e: (e["speed_up"]["value"], e["speed_up"]["error"]),
            more=True,
        )
        yield replace(speed_up, leading=True)
    elif recorded:
        yield each(
            "speed_up_recorded",
            "speed-up over the recorded time, not measured",
            lambda e: (recorded / e["seconds_per_sample"], None),
            more=True,
        )
    if any(e["joules_per_sample"] for e in entries):
        yield each(
            "per_watt_hour",
            f"{kind}s a Wh",
            lambda e: (_per_watt_hour(e), None),
            more=True,
            says="" if all(e["joules_per_sample"] for e in entries) else "not told",
        )


def _per_watt_hour(entry: Entry) -> float:
    return 3600 / entry["joules_per_sample"] if entry["joules_per_sample"] else math.nan


def _simulation(reference: Entry | None, recorded: float | None, kind: str) -> Iterator[Number]:
    def run(name: str, words: str, key: str, error: str) -> Number:
        assert reference is not None
        spread = None if reference[error] is None else 1e3 * reference[error]
        label = f"simulation, {words} a {kind}"
        return Number(
            name, label, 1e3 * reference[key], spread, n=reference["simulations"], unit="ms"
        )

    if reference:
        yield run("simulation", "CPU time", "cpu_seconds_per_sample", "cpu_error")
        yield run("simulation_clock", "time", "seconds_per_sample", "error")
        yield Number("simulation_start", "simulation, its start", reference["start"], n=1, unit="s")
        if reference["joules_per_sample"]:
            rate = _per_watt_hour(reference)
            yield Number("simulation_per_watt_hour", f"simulation, {kind}s a Wh", rate, more=True)
    if recorded:
        name = "simulation_recorded" if reference else "simulation"
        yield Number(name, f"simulation, time a {kind} as recorded", 1e3 * recorded, unit="ms")


def _start_up(start: Mapping[str, Any], kind: str) -> Iterator[Number]:
    on = start["device"].upper()
    suffix = "" if on == "CPU" else f"_{start['device']}"

    def seconds(key: str, name: str, label: str) -> Number:
        median, spread = start["seconds"][key]["median"], start["seconds"][key]["spread"]
        return Number(name, label, median, spread, n=start["n"], unit="s")

    parts = tuple(seconds(key, key, words) for key, words in PARTS.items())
    total = seconds("total", f"start_up{suffix}", f"start-up to the first {kind}, {on}")
    yield replace(total, groups=parts)
    for key, name, words in (
        ("peak_bytes", "memory", "peak memory"),
        ("accelerator_peak_bytes", "accelerator_memory", "peak memory of the accelerator"),
    ):
        for size, batch, which in zip(start[key], (1, start["batch"]), ("_1", "")):
            told = size is not None
            if told or key == "peak_bytes":
                yield Number(
                    f"{name}{suffix}{which}", f"{words}, batch {batch:,}, {on}",
                    size / 1e6 if told else math.nan, n=1, unit="MB",
                    says="" if told else "not told by this machine",
                )  # fmt: skip


def _words(row: Mapping[str, Any]) -> str:
    return f"{row['processes']} process{'es' if row['processes'] > 1 else ''}"


def _efficiency(rows: Sequence[Mapping[str, Any]]) -> Number:
    groups = tuple(
        Number(
            f"{row['processes']}", _words(row),
            100 * row["efficiency"], 100 * row["error"], unit="%", more=True,
        )
        for row in rows
    )  # fmt: skip
    label = f"efficiency of {rows[-1]['processes']} processes at once"
    return replace(groups[-1], name="efficiency", label=label, groups=groups)


def _rates(
    entries: Sequence[Entry], reference: Entry | None, recorded: float | None, kind: str
) -> Iterator[Curve]:
    """Return samples a second against batch size, a curve a device, beside the simulation's."""
    seconds, error, line = recorded or math.nan, 0.0, ""
    if reference:
        seconds, error = reference["seconds_per_sample"], reference["error"] or 0.0
        line = "; grey: the simulation on one thread"
    elif recorded:
        line = "; grey: the simulation, as its file records"
    in_memory = [e for e in entries if not e["writing"]]
    for key, members in groupby(in_memory, key=_key):
        batches = list(members)
        time, spread = (
            np.array([e[k] for e in batches], float) for k in ("seconds_per_sample", "spread")
        )
        unknown = np.full(len(batches), np.nan)
        yield Curve(
            name=f"rate_{key}",
            label=f"{kind}s a second",
            caption=f"{kind.capitalize()}s a second against how many are asked for at once, by the "
            f"clock{line}. Where the points rise a batch costs what asking costs; where they are "
            "level it costs what drawing does.",
            x=np.array([e["batch"] for e in batches], float),
            axis=Axis(f"batch size, {_device(batches[0])}", log=True),
            reference=np.full(len(batches), 1 / seconds),
            reference_error=np.full(len(batches), error / seconds**2),
            generated=1 / time,
            generated_error=spread / time**2,
            deviation=unknown,
            error=unknown,
            floor=unknown,
            n=(min(e["repeats"] for e in batches), reference["simulations"] if reference else 0),
            log=True,
        )


def _processes(scaling: Mapping[str, Any], kind: str) -> Curve:
    count, rate, spread, efficiency, error = (
        np.array([row[k] for row in scaling["rows"]], float)
        for k in ("processes", "samples_per_second", "spread", "efficiency", "error")
    )
    return Curve(
        name="processes",
        label=f"{kind}s a second, together",
        caption="Processes of one thread that draw at once (points), and as many times the rate of "
        "one (bars); below, their ratio: the efficiency. It falls where processes wait for memory "
        "or share a core.",
        x=count,
        axis=Axis("processes at once"),
        names=tuple(_words(row) for row in scaling["rows"]),
        reference=rate[0] * count,
        reference_error=spread[0] * count,
        generated=rate,
        generated_error=spread,
        deviation=efficiency - 1,
        error=error,
        floor=np.full(len(count), np.nan),
        n=(scaling["batch"], scaling["batch"]),
    )


def _notes(timed: Mapping[str, Any], kind: str) -> Iterator[str]:
    """Say how it was timed, what was not, and why; a paragraph each."""
    entries, reference = timed["emulator"] or [], timed["reference"]
    if entries:
        largest = max(e["batch"] for e in entries)
        usual = f"Batch 1 is what a full simulation uses, where {kind}s are asked for one by one"
        if kind == "field":
            usual = "Batch 1 is a single field, asked for when it is needed"
        yield (
            "From the request to the samples in memory, at the conditions of the compared samples, "
            "after a warm-up; by the clock, and in CPU time of all threads. Median of the repeats "
            f"± half their range from 16 % to 84 %. {usual}; batch {largest:,} is production in "
            "bulk." + ("" if largest >= 10_000 else " Larger ones take too much time or memory.")
        )
    elif timed["why_not"]:
        yield f"Not timed: {timed['why_not']}"
    yield from _of_the_simulation(timed, kind)
    if entries or reference:
        counters = {name for e in (*entries, *filter(None, [reference])) for name in e["energy_of"]}
        energy = "Energy: not told by this machine."
        if counters:
            energy = (
                f"Energy by the counters of {', '.join(sorted(counters))}: of the whole device, "
                "idle power and other programs included."
            )
        yield (
            f"{energy} Times have no floor. They are those of this machine, as busy as it was: "
            "another run may differ by more than the errors."
        )
    if timed["start_up"]:
        yield "Start-up: once a process, before the times above, in fresh ones."
    if scaling := timed["scaling"]:
        more = " More do not fit into half of the free memory."
        yield (
            f"Several processes: each with one thread on the CPU and batches of "
            f"{scaling['batch']:,}, at once; {scaling['cores']} cores may be used."
            + (more if scaling["rows"][-1]["processes"] < scaling["cores"] else "")
        )
    if timed["fresh_why_not"]:
        yield f"Start-up and several processes were not timed: {timed['fresh_why_not']}."


def _of_the_simulation(timed: Mapping[str, Any], kind: str) -> Iterator[str]:
    reference, shared = timed["reference"], timed["reference_samples_per_simulation"]
    if reference:
        failed = f", {reference['failed']} more failed" if reference["failed"] else ""
        line = ", from a line through costs against energies" if reference["regressed"] else ""
        yield (
            f"The simulation ({reference['generator']}; {reference['source']}) was run here too, "
            f"with one thread, at {reference['conditions']}: {reference['simulations']:,} "
            f"simulations{failed}, mean ± standard error{line}. The speed-up of an emulator on one "
            "thread of the CPU is at equal conditions, CPU seconds over CPU seconds; elsewhere it "
            "sets one core against what the emulator ran on, by the clock. Its error is that of "
            "both, in quadrature."
        )
        if reference["samples_per_simulation"] > 1:
            shared = reference["samples_per_simulation"]
    elif timed["reference_why_not"]:
        yield timed["reference_why_not"]
    if not reference and timed["emulator"] and timed["reference_seconds_per_sample"]:
        yield (
            "The simulation's time was recorded when its file was made, perhaps on another "
            "machine: the speed-up is no measurement of this report."
        )
    if shared:
        yield (
            f"One simulation gave {shared:.3g} {kind}s of the reference: its cost is shared among "
            "them."
        )
