"""Measured things go into JSON and come back; one rule judges their numbers."""

import json
from dataclasses import replace

import numpy as np
import pytest

from emulators.benchmarks.draw import draw
from emulators.benchmarks.judge import clear, judge, lines, written
from emulators.benchmarks.measured import (
    Axis,
    Curve,
    Histogram,
    Matrix,
    Number,
    Picture,
    from_json,
    to_json,
)
from emulators.errors import InputError
from emulators.observables.resampling import measure_difference

CURVE = Curve(
    name="spectrum",
    label="cells",
    caption="What to see.",
    x=np.array([1.0, 2.0, 4.0]),
    axis=Axis("energy", "MeV", log=True),
    reference=np.array([3.0, 2.0, 1.0]),
    reference_error=np.array([0.1, 0.1, 0.1]),
    generated=np.array([3.1, 2.2, np.nan]),
    generated_error=np.array([0.1, 0.1, 0.1]),
    deviation=np.array([0.03, 0.1, np.nan]),
    error=np.array([0.05, 0.05, 0.1]),
    floor=np.array([0.02, 0.02, 0.05]),
    n=(10, 12),
    log=True,
    judged=np.array([True, True, False]),
    good=np.full(3, 0.05),
)
PICTURE = Picture(
    name="showers",
    label="energy",
    caption="",
    panels=((np.eye(3), np.ones((3, 3))), (np.zeros((3, 3)),)),
    titles=("reference", "emulator"),
    names=(("1 GeV", "2 GeV"), ("1 GeV",)),
    unit="MeV",
    log=True,
    edges=((np.arange(4.0), np.arange(4.0)),) * 2,
)
HISTOGRAM = Histogram("energy", "energy", "", np.geomspace(1, 8, 4), Axis("E", "GeV", log=True),
                      np.array([3.0, 2, 1]), np.array([2.0, 2, 2]), ((0, 1), (0, 0)))  # fmt: skip
MATRIX = Matrix("m", "correlation", "", (np.eye(3), -np.eye(3)), ("a", "b"), ((0, 1), (-1, 1)),
                rows=("x", "x", "y"), columns=("x", "x", "y"))  # fmt: skip
SCALED = Matrix("s", "correlation", "", (np.eye(3),), ("a",), ((0, 1),),
                axis=Axis("k", "h/Mpc", log=True), at=np.array([1.0, 2, 4]))  # fmt: skip
NUMBER = Number("auc", "AUC", 0.6, 0.01, 0.5, 0.01, 100, limit=0.05, fails=0.3)


def same(a, b):
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


@pytest.mark.parametrize(
    "thing", [CURVE, PICTURE, NUMBER, HISTOGRAM, MATRIX, SCALED], ids=lambda t: type(t).__name__
)
def test_what_goes_into_json_comes_back(thing):
    text = json.dumps(to_json(thing), allow_nan=False)
    again = from_json(json.loads(text))
    assert type(again) is type(thing)
    for name, value in vars(thing).items():
        assert same(value, getattr(again, name)), name


def test_groups_come_back_and_unknown_things_do_not():
    grouped = Number("a", "A", float("nan"), groups=(NUMBER,))
    again = from_json(json.loads(json.dumps(to_json(grouped))))
    assert again.groups == (NUMBER,)
    assert np.isnan(again.value)
    with pytest.raises(InputError, match="of kind 'Sound'"):
        from_json({"kind": "Sound"})
    with pytest.raises(InputError, match="unknown entries colour"):
        from_json(to_json(NUMBER) | {"colour": "red"})


POLAR = replace(PICTURE, polar=True, edges=((np.linspace(0, 6.28, 4), np.arange(4.0)),) * 2)
BINNED = replace(CURVE, edges=np.array([0.5, 1.5, 3, 5]), x=np.array([1.0, 2, 4]))
ALONE = replace(CURVE, deviation=np.full(3, np.nan))


@pytest.mark.parametrize(
    ("things", "panels"),
    [
        ([CURVE], 2),
        ([CURVE] * 4, 8),
        ([replace(CURVE, family="P(k)")] * 2, 1),
        ([replace(CURVE, difference=True)], 2),
        ([BINNED], 2),
        ([ALONE], 1),
        ([PICTURE], 4),
        ([POLAR], 4),
        ([HISTOGRAM] * 2, 4),
        ([MATRIX], 4),
        ([SCALED], 2),
    ],
)
def test_each_type_is_drawn(things, panels):
    figure = draw(things)
    figure.draw_without_rendering()
    assert len(figure.axes) >= panels
    with pytest.raises(ValueError, match="has no plot"):
        draw([NUMBER])


@pytest.mark.parametrize(
    ("value", "error", "status"),
    [
        (0.52, 0.01, "good"),
        (0.52, 0.20, "unclear"),  # n cannot tell 0.05
        (0.65, 0.01, "fair"),
        (0.79, 0.01, "fair"),
        (0.90, 0.01, "poor"),
        (float("nan"), 0.01, "unclear"),
    ],
)
def test_good_is_near_the_floor_and_poor_beyond_the_limit(value, error, status):
    number = Number("auc", "AUC", value, error, 0.5, 0.0, 1000, limit=0.05, fails=0.3)
    assert judge(number).status == status


def test_the_worst_group_is_judged_beside_the_mean():
    good = Number("a", "1 to 10 GeV", 1.0, 0.1, 0.9, 0.1, 50, "%")
    bad = Number("a", "10 to 100 GeV", 9.0, 0.1, 0.9, 0.1, 50, "%")
    whole = Number("a", "profile", 1.2, 0.1, 0.9, 0.1, 100, "%", limit=2.0, groups=(good, bad))
    line = judge(whole)
    assert line.status == "poor"
    assert "The worst of 2, 10 to 100 GeV: 9.00 ± 0.10 %" in line.text
    assert judge(Number("a", "b", 1.2, 0.1, 0.9, 0.1, 100, limit=2.0, groups=(good,))).status == (
        "good"
    )
    assert [v["status"] for v in lines([whole, good])] == ["poor"]  # without a limit: not judged


def test_few_simulations_need_more_standard_deviations():
    assert clear(None) == pytest.approx(3.86, abs=0.01)  # a chance of 1e-4, of 100 resamplings
    assert clear(4) > clear(40) > clear(None)
    assert clear(None, tests=100) > clear(None)


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        (1.23456, 0.0123, "1.235 ± 0.012 %"),
        (0.5, None, "0.5 %"),
        (12345.0, 120.0, "12345 ± 120 %"),
        (12345.0, None, "12,345 %"),
    ],
)
def test_numbers_are_written_to_the_second_digit_of_their_error(value, error, words):
    assert written(value, "%", error) == words


def mean_size(a, b):
    return float(np.abs(a.mean(0) / b.mean(0) - 1).mean())


def mean_off(a, b):
    return abs(float((a.mean(0) / b.mean(0) - 1).mean()))


def boxes(rng, simulations, maps, shift=0.0):
    """Maps of boxes: what they share scatters by 10 %, what they do not by 5 %."""
    box = 1 + 0.1 * rng.standard_normal((simulations, 1))
    rows = np.repeat(box + 0.05 * rng.standard_normal((simulations, 10)), maps, 0)
    rows = rows + 0.05 * rng.standard_normal(rows.shape) + shift
    return rows, np.repeat(np.arange(simulations), maps)


@pytest.mark.parametrize("statistic", [mean_size, mean_off])
@pytest.mark.parametrize("simulations", [8, 24])
def test_value_and_floor_of_one_law_are_equal_and_never_poor(simulations, statistic):
    rng = np.random.default_rng(simulations)
    values, statuses = [], []
    for _ in range(60):
        (gen, of_gen), (ref, of_ref) = (boxes(rng, simulations, 3) for _ in range(2))
        m = measure_difference(statistic, gen, ref, rng, groups=(of_gen, of_ref), resamplings=30)
        values.append((m.value, m.floor))
        statuses.append(judge(of(m, simulations // 2)).status)
    value, floor = np.mean(values, 0)
    assert value / floor == pytest.approx(1, abs=0.1)
    assert "poor" not in statuses


def of(m, simulations):
    """Return a number that is judged in squares, good up to 0.02."""
    return Number("a", "a", m.value, m.error, m.floor, m.floor_error, m.n, limit=0.02,
                  noise="in squares", simulations=simulations)  # fmt: skip


def test_a_fault_is_poor_and_its_size_is_told():
    rng = np.random.default_rng(9)
    (gen, of_gen), (ref, of_ref) = boxes(rng, 40, 3, 0.3), boxes(rng, 40, 3)
    m = measure_difference(mean_off, gen, ref, rng, groups=(of_gen, of_ref))
    assert m.n == 60
    assert judge(of(m, 20)).status == "poor"
    assert of(m, 20).excess == pytest.approx(0.3, abs=0.08)


def test_pairs_do_not_differ_by_what_they_were_asked_for():
    rng = np.random.default_rng(6)
    asked = np.exp(rng.standard_normal((400, 1)))
    gen, ref = (asked * (1 + 0.01 * rng.standard_normal((400, 4))) for _ in range(2))
    paired = measure_difference(mean_size, gen, ref, rng, paired=True)
    apart = measure_difference(mean_size, gen, ref, rng)
    assert paired.value == pytest.approx(paired.floor, rel=0.05)
    assert apart.value == pytest.approx(apart.floor, rel=0.5)
