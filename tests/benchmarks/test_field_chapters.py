"""Chapters of fields: a perfect emulator is at its floor, planted faults are found."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest

from emulators.benchmarks.chapter import Result, judged_curve
from emulators.benchmarks.chapters import chapters_of, copies
from emulators.benchmarks.draw import draw
from emulators.benchmarks.judge import is_judged, judge, worst_group
from emulators.benchmarks.measured import Axis, Curve, Picture
from emulators.benchmarks.pair import load_pair
from emulators.benchmarks.write import figures_of

SETTINGS = {"seed": 0, "resamplings": 40, "halvings": 10}
ORDER = [
    "pictures", "power", "conditions", "one_point", "bispectra", "minkowski", "copies",
    "similarity", "scores",
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Few fields checked for copies; the logic is the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copies, "CHECKED", 8)
        yield


class Report(dict):
    """Numbers by ``chapter/name``, and what each chapter measured."""

    def __init__(self, generated, reference, names=ORDER, **settings):
        self.pair = load_pair(generated, reference, settings.pop("max_samples", None), 0)
        self.results = {
            c.name: Result(
                c.name, c.title, c.says, tuple(c.measure(self.pair, SETTINGS | settings))
            )
            for c in chapters_of("field")
            if c.name in names
        }
        super().__init__({k: n for r in self.results.values() for k, n in r.numbers.items()})

    def status(self, name):
        return judge(self[name]).status

    def things(self, chapter):
        return {m.name: m for m in self.results[chapter].measured}


def law(rng, lognormal, simulations, each, side=16):
    sigma = rng.uniform(0.6, 1.0, simulations).repeat(each)
    return sigma, lognormal(rng, sigma, side=side)


@pytest.fixture(scope="module")
def reference(lognormal, write_fields, tmp_path_factory):
    """Sixty simulations of three maps, which share nothing but the condition: file and arrays."""
    sigma, fields = law(np.random.default_rng(0), lognormal, 60, 3, side=24)
    path = tmp_path_factory.mktemp("reference") / "reference.h5"
    write_fields(path, fields, {"sigma_8": sigma}, np.arange(60).repeat(3))
    return path, sigma, fields


@pytest.fixture
def against(reference, write_fields, tmp_path):
    """Return what measures fields against the reference."""

    def measure(fields, *names, sigma=None, **settings):
        sigma = reference[1] if sigma is None else sigma
        path = write_fields(tmp_path / "generated.h5", fields, {"sigma_8": sigma})
        return Report(path, reference[0], names, **settings)

    return measure


# -- two samples of one law -----------------------------------------------------------------------


@pytest.mark.long
def test_two_samples_of_one_law_are_at_their_floor_and_not_poor(lognormal, write_fields, tmp_path):
    """Sixteen simulations a side, as often as tells a mean: every chapter, every number."""
    pairs, poor = {}, []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        paths = []
        for name in ("g", "r"):
            sigma, fields = law(rng, lognormal, 16, 4)
            numbers = np.arange(16).repeat(4)
            paths.append(write_fields(tmp_path / f"{name}.h5", fields, {"sigma_8": sigma}, numbers))
        report = Report(*paths)
        poor += [name for name, n in report.items() if is_judged(n) and judge(n).status == "poor"]
        for name, n in report.items():
            if math.isfinite(n.value) and n.floor:
                pairs.setdefault(name, []).append((n.value, n.floor))
    assert poor == []
    assert {name.split("/")[0] for name in pairs} == {*ORDER} - {"pictures"}
    # of the others the reference is known well enough by chance alone
    for name, numbers in {k: v for k, v in pairs.items() if len(v) > 7}.items():
        value, floor = np.array(numbers).T
        if name.startswith("scores"):  # 1 / FD: of few fields it has a long tail
            assert abs(np.log(value / floor).mean()) < 1, name
        else:
            assert value.mean() / floor.mean() == pytest.approx(1, abs=0.5), name


def spectra(draw, boxes=40, level=1.0):
    """P(k) of four maps a box in twelve bins: scatter of boxes that bins share, and of maps."""
    shared = draw.normal(0, 0.1, (boxes, 1)) + draw.normal(0, 0.1, (boxes, 12))
    return level * (10 + 10 * shared.repeat(4, 0) + draw.normal(0, 1, (4 * boxes, 12)))


def compared(seed, level=1.0, limit=2.0, boxes=40):
    """Return the number of such spectra; ``level`` is a factor, or one a bin."""
    draw = np.random.default_rng(seed)
    rows, groups = (spectra(draw, boxes, level), spectra(draw, boxes)), np.arange(4 * boxes) // 4
    pair = SimpleNamespace(groups=(groups, groups), independent=boxes, paired=False)
    _, number = judged_curve(
        rows, pair, SETTINGS | {"seed": seed}, "test", [("all", "P(k)", np.ones(12, bool), limit)],
        name="power", label="P(k)", caption="", x=np.arange(12.0), axis=Axis("k"),
    )  # fmt: skip
    return number


def test_a_perfect_curve_is_at_its_floor_and_never_fails():
    numbers = [compared(seed) for seed in range(40)]
    assert "poor" not in {judge(n).status for n in numbers}
    value, floor = np.mean([(n.value, n.floor) for n in numbers], 0)
    assert value / floor == pytest.approx(1, abs=0.1)
    signed = [n.groups[0] for n in numbers]
    size, floor = np.mean([(n.value, n.floor) for n in signed], 0)
    assert size / floor == pytest.approx(1, abs=0.25)  # of forty sizes of one normal number: 0.12
    assert np.sqrt(np.mean([(n.value / n.error) ** 2 for n in signed])) == pytest.approx(1, abs=0.3)


def test_a_shift_of_twelve_floors_is_poor_and_its_size_is_told():
    floor = np.mean([compared(seed).groups[0].floor for seed in range(5)])
    for seed in range(5):
        number = compared(seed, 1 + 12 * floor / 100, limit=0.1)
        assert judge(number).status == "poor"
        assert number.groups[0].value == pytest.approx(12 * floor, rel=0.4)
    assert judge(compared(0, limit=10.0)).status == "good"
    few = judge(compared(0, limit=0.5, boxes=8))
    assert few.status == "unclear"
    assert "cannot tell 0.5 %" in few.text


def test_deviations_that_cancel_in_the_mean_are_not_good():
    wave = compared(0, 1 + 0.2 * (-1.0) ** np.arange(12), limit=10.0)
    assert wave.groups[0].value < 10
    assert judge(wave).status == "poor"
    assert worst_group(wave).name != "mean"


# -- planted faults -------------------------------------------------------------------------------


def test_power_that_is_too_high_fails_at_all_conditions(against, reference):
    more = 20 + 1.2**0.5 * (reference[2] - 20)
    report = against(np.roll(more, 7, 1), "power", "conditions", "one_point")
    for name in ("power/half", "power/nyquist", "conditions/groups"):
        assert report.status(name) == "poor", report[name]
        assert report[name].excess == pytest.approx(20, abs=1.5)
    assert report["conditions/groups"].groups[0].label.endswith("(above the reference)")
    assert report.status("power/correlation") != "poor"
    assert report["conditions/response_sigma_8"].value == pytest.approx(0, abs=1)  # of ln P(k)
    assert report.status("one_point/one_point") == "poor"


def test_fields_without_phases_have_no_bispectrum(against, reference):
    """The very P(k) of the reference, field by field, at random phases: Gaussian fields."""
    fields = reference[2]
    modes = np.fft.rfft2(fields)
    noise = np.fft.rfft2(np.random.default_rng(1).standard_normal(fields.shape))
    noise[:, 0, 0] = np.abs(noise[:, 0, 0])
    gaussian = np.fft.irfft2(np.abs(modes) * noise / np.abs(noise), fields.shape[1:])
    report = against(gaussian.astype("f4"), *ORDER[1:6])
    assert report["power/half"].value < report["power/half"].floor
    assert report.status("bispectra/equilateral") == "poor"
    assert report["bispectra/equilateral"].value == pytest.approx(100, abs=30)
    for name in ("bispectra/squeezed", "one_point/one_point", "one_point/peaks"):
        assert report.status(name) == "poor", report[name]
    for name in ("area", "perimeter", "euler"):
        number = report[f"minkowski/{name}"]
        assert number.value > number.floor + 5 * number.doubt
        assert not is_judged(number)


def test_missing_peaks_fail(against, reference):
    clipped = np.minimum(np.roll(reference[2], 5, 2), np.quantile(reference[2], 0.99))
    report = against(clipped, "one_point")
    assert report.status("one_point/peaks") == "poor"
    assert report.status("one_point/one_point") == "poor"
    assert report.status("one_point/voids") != "poor"


def test_a_wrong_response_fails(against, reference, lognormal):
    sigma = reference[1]
    fields = lognormal(np.random.default_rng(4), 0.8 + 0.5 * (sigma - 0.8), side=24)
    report = against(fields, "conditions")
    number = report["conditions/response_sigma_8"]
    assert judge(number).status == "poor"
    assert number.value == pytest.approx(50, abs=12)
    assert "weaker" in number.says
    assert report.status("conditions/groups") == "poor"
    worst = worst_group(report["conditions/groups"])
    assert worst.label.startswith("sigma_8 from")
    assert report["conditions/groups"].value > 10  # high at one end, low at the other
    families = [m.family for m in report.results["conditions"].measured if isinstance(m, Curve)]
    assert families.count("P(k) by sigma_8") == 3


def test_a_response_through_zero_is_judged_as_a_difference(lognormal, write_fields, tmp_path):
    rng = np.random.default_rng(5)
    slope = rng.uniform(0.5, 1.5, 200)  # of more of it, less power above mode 4 and more below
    paths = []
    for name, slopes in (("r", slope), ("g", np.ones(200))):
        fields = lognormal(rng, 0.8 * 2 ** (slopes - 1), slopes, side=24)
        paths.append(write_fields(tmp_path / f"{name}.h5", fields, {"omega_m": slope}))
    report = Report(paths[1], paths[0], ["conditions"])
    shape = report.things("conditions")["slopes_omega_m"]
    assert shape.difference
    assert shape.reference.min() < 0 < shape.reference.max()
    assert report.status("conditions/response_omega_m") == "poor"
    assert len(draw([shape]).axes) == 2


def test_groups_of_too_few_simulations_are_named(lognormal, write_fields, tmp_path):
    rng = np.random.default_rng(6)
    sigma = np.repeat([0.7, 0.8, 0.9], [12, 12, 1])
    paths = [
        write_fields(tmp_path / f"{name}.h5", lognormal(rng, s), {"sigma_8": sigma})
        for name, s in (("g", sigma + 0.3 * (sigma < 0.75)), ("r", sigma))
    ]
    number = Report(*paths, ["conditions"])["conditions/groups"]
    assert "not compared: sigma_8 = 0.9" in number.says
    assert [math.isfinite(g.value) for g in number.groups] == [True, True, False]
    assert worst_group(number).label.startswith("sigma_8 = 0.7 (above")
    alone = [write_fields(tmp_path / f"{n}.h5", lognormal(rng, sigma), {"sigma_8": sigma},
                          (sigma * 10).astype(int)) for n in ("g", "r")]  # fmt: skip
    none = Report(*alone, ["conditions"])["conditions/groups"]
    assert math.isnan(none.value)
    assert judge(none).status == "unclear"


def test_memorised_fields_fail(against, reference):
    rng = np.random.default_rng(7)
    copied = [np.roll(f.T[::-1], rng.integers(0, 24, 2), (0, 1)) for f in reference[2]]
    report = against(np.array(copied), "copies", "faults", max_samples=80)
    assert report.status("copies/reference") == "poor"
    assert "are copies" in report["copies/reference"].says
    assert report.status("copies/each_other") == "good"
    assert report.status("faults/exact_copies") == "good"
    r = report.things("copies")["closest_reference"]
    assert r.generated[:4].min() > 0.99 > r.reference[:4].max()


def test_equal_fields_are_counted(against, reference):
    fields = np.roll(reference[2], 9, 1)
    fields[:5] = reference[2][:5]
    report = against(fields, "faults", max_samples=80)
    assert report.status("faults/exact_copies") == "poor"
    assert report["faults/exact_copies"].value > 0


def test_a_collapsed_generator_is_seen(against, reference, lognormal):
    few = lognormal(np.random.default_rng(8), reference[1][:10], side=24)
    report = against(np.tile(few, (18, 1, 1)), "copies", "similarity")
    assert report.status("copies/each_other") == "poor"
    assert report.status("copies/reference") == "good"
    number = report["similarity/diversity"]
    assert number.value > number.floor + 3 * number.doubt
    assert number.n == 90


def test_a_dead_generator_is_measured(against, reference):
    report = against(np.full_like(reference[2], 20), *ORDER, max_samples=60)
    assert report.status("power/half") == "poor"
    assert report["scores/power"].value < report["scores/power"].floor
    for name in ("power", "one_point", "copies"):
        for _, things in figures_of(report.results[name]):
            assert draw(things).axes


# -- what a chapter gives -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(reference, lognormal, write_fields, tmp_path_factory):
    sigma = reference[1][::-1][:90]
    fields = lognormal(np.random.default_rng(9), sigma, side=24)
    path = write_fields(tmp_path_factory.mktemp("whole") / "g.h5", fields, {"sigma_8": sigma})
    return Report(path, reference[0])


def test_chapters_stand_in_their_order(whole):
    assert [name for name in whole.results if name in ORDER] == ORDER
    leading = [name for name, n in whole.items() if n.leading]
    assert leading == ["power/half", "power/nyquist", "one_point/one_point"]


def test_all_is_drawn_and_comes_back_from_json(whole):
    for result in whole.results.values():
        again = Result.from_json(json.loads(json.dumps(result.to_json(), allow_nan=False)))
        assert [m.name for m in again.measured] == [m.name for m in result.measured]
        names = [(type(m), m.name) for m in result.measured]
        assert len(set(names)) == len(names)
        for _, things in figures_of(again):
            assert draw(things).axes
    picture = whole.results["pictures"].measured[0]
    back = Result.from_json(json.loads(json.dumps(whole.results["pictures"].to_json())))
    np.testing.assert_allclose(back.measured[0].panels, picture.panels, rtol=1e-3)


def test_pictures_are_of_the_closest_conditions(whole):
    picture = whole.results["pictures"].measured[0]
    assert isinstance(picture, Picture)
    assert picture.panels[0][0].shape == (24, 24)
    assert picture.label == "counts, log10(1 + count)"
    assert picture.edges[0][1][-1] == 100
    numbers = [[words.split(": ") for words in row] for row in picture.names]
    assert len({row for row, _ in numbers[1]}) == 4
    for (_, ours), (_, theirs) in zip(*numbers):
        a, b = (float(words.split("= ")[1]) for words in (ours, theirs))
        assert a == pytest.approx(b, abs=0.05)
        assert r"$\sigma_8$" in ours


def test_of_other_samples_only_numbers_are_measured(against, reference):
    fields = np.roll(reference[2], 3, 1)
    alone = against(fields, "one_point", "bispectra", max_samples=60)
    beside = against(fields, "one_point", "bispectra", max_samples=60, beside="start")
    assert {k: n.value for k, n in beside.items()} == {k: n.value for k, n in alone.items()}
    assert "moments" in alone.things("one_point")
    assert "moments" not in beside.things("one_point")


def test_scores_of_equal_samples_are_infinite(monkeypatch, against, reference):
    report = against(reference[2][:, ::-1], "scores")
    assert {n.more for n in report.values()} == {True}
    assert not any(is_judged(n) for n in report.values())
    assert "5 %" in report.results["scores"].says
    from emulators.benchmarks.chapters import scores

    same = scores.CosmoGANScore(np.inf, 0.0, 20, 30, False)
    monkeypatch.setattr(scores, "cosmogan_scores", lambda *_: {"mass": same})
    number = against(reference[2][:, ::-1], "scores")["scores/mass"]
    assert math.isnan(number.value)
    assert "infinite" in number.says


def test_the_same_seed_gives_the_same_figures(against, reference):
    twin = np.roll(reference[2], 1, 1)
    names = ("power", "similarity")
    first, second, other = (against(twin, *names, max_samples=40, seed=seed) for seed in (0, 0, 1))
    assert first == second
    assert first["power/half"] != other["power/half"]


def test_channels_are_measured_one_by_one(lognormal, write_fields, tmp_path):
    rng = np.random.default_rng(10)
    paths = []
    for name in ("g", "r"):
        fields = np.stack([lognormal(rng, [0.8] * 24) for _ in range(2)], 1)
        paths.append(write_fields(tmp_path / f"{name}.h5", fields, channels=("gas", "stars")))
    report = Report(*paths)
    assert "conditions" not in {name.split("/")[0] for name in report}  # none varies
    for chapter in ("power/half", "bispectra/equilateral", "copies/each_other", "scores/mass"):
        assert f"{chapter} of gas" in report
        assert f"{chapter} of stars" in report
    assert report["one_point/one_point of gas"].leading
    assert not report["one_point/one_point of stars"].leading
    assert len(report.things("pictures")) == 2


def test_boxes_that_are_not_periodic_and_have_no_conditions(lognormal, write_fields, tmp_path):
    rng = np.random.default_rng(11)
    paths = [
        write_fields(tmp_path / f"{n}.h5", lognormal(rng, [0.8] * n, d=3, side=12), periodic=False)
        for n in (12, 16)
    ]
    report = Report(*paths)
    assert not report.results["conditions"].measured
    assert "minkowski/curvature" in report
    assert "8.33 Mpc/h" in report.results["pictures"].measured[0].caption
    assert "poor" not in {judge(n).status for n in report.values() if is_judged(n)}
    assert report.status("power/half") == "unclear"  # twelve boxes cannot tell 2 %
    assert len(draw(list(report.results["minkowski"].measured)[:4]).axes) == 8


@pytest.mark.parametrize(("length", "unit", "inverse"), [(5.0, "deg", "1/deg"), (50, "mm", "1/mm")])
def test_lengths_and_fields_of_other_units(
    lognormal, write_fields, tmp_path, length, unit, inverse
):
    """Temperatures of 2.7 K on a patch of sky: nothing is said in Mpc/h, the mean hides nothing."""
    rng = np.random.default_rng(12)
    grid = {"of": "K", "unit": unit, "lengths": (length, length), "channels": ("temperature",)}
    paths = []
    for name in ("g", "r"):
        warm = (2.725 + 0.002 * (lognormal(rng, [0.8] * 24, side=24) - 20)).astype(np.float32)
        paths.append(write_fields(tmp_path / f"{name}.h5", warm, periodic=False, **grid))
    report = Report(*paths)
    power = report.things("power")["power"]
    assert power.axis.unit == inverse
    first = (1 + 2**0.5) / 2 * 2 * np.pi / length  # modes (1, 0) and (1, 1), four of each
    assert power.x[0] == pytest.approx(first)
    assert power.unit == f"(K)^2 ({unit})^2"
    # of the mean 2.7 K nothing is in the lowest shell: tapered white noise of the maps' width
    assert power.reference[0] < 0.2**2 * length**2
    text = json.dumps([r.to_json() for r in report.results.values()])
    assert "Mpc" not in text
    assert inverse in judge(report["power/half"]).text


def test_masses_over_decades_are_compared_in_their_logarithm(lognormal, write_fields, tmp_path):
    rng = np.random.default_rng(13)
    paths = [
        write_fields(
            tmp_path / f"{n}.h5", 1e9 * (1 + lognormal(rng, [0.9] * 16)) ** 4,
            of="(Msun/h)/(Mpc/h)^2", channels=("mass",),
        )
        for n in ("g", "r")
    ]  # fmt: skip
    report = Report(*paths, ["pictures", "one_point"])
    shape = report.things("one_point")["one_point_distribution"]
    np.testing.assert_allclose(
        np.diff(np.log(shape.edges)), np.log(shape.edges[1] / shape.edges[0])
    )
    assert shape.axis.log
    assert report.results["pictures"].measured[0].label.startswith("mass, log10 of (Msun/h)")
    shares = shape.reference * np.diff(shape.edges)
    assert shares.sum() == pytest.approx(1)
    assert shares.max() < 0.2
    assert len(draw([shape]).axes) == 2
