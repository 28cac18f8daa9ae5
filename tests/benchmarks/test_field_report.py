import base64
import dataclasses
import json
import re
import xml.etree.ElementTree as ElementTree

import h5py
import numpy as np
import pytest

from emulators.benchmarks import classifier
from emulators.benchmarks.field_report import copies
from emulators.benchmarks.field_report import page as field_page
from emulators.benchmarks.field_report import plots as field_plots
from emulators.benchmarks.field_report.conditional import Levelling, condition_groups, response
from emulators.benchmarks.field_report.pair import load_fields
from emulators.benchmarks.field_report.tables import markdown
from emulators.benchmarks.report import benchmark
from emulators.data.convert import split
from emulators.data.dataset import Dataset, split_rows
from emulators.data.hdf5 import HDF5Writer, content_hash
from emulators.data.spec import Column, Condition, Grid, Samples, SampleSpec
from emulators.errors import InputError
from emulators.observables.closest import aligned, closest, large_scales

SIDE, LENGTH = 32, 100.0
SIMULATIONS, EACH = 300, 4
NAMES = ("omega_m", "sigma_8")


def maps(rng, omega, sigma, tilt=0.0, d=2, side=SIDE):
    """Poisson counts of lognormal fields; sigma sets the amplitude, omega the slope."""
    lines = [np.fft.fftfreq(side, 1 / side)] * (d - 1) + [np.fft.rfftfreq(side, 1 / side)]
    modes = np.meshgrid(*lines, indexing="ij", sparse=True)
    number = np.sqrt(sum(m**2 for m in modes))
    number.flat[0] = 1
    fields = np.empty((len(omega), *(side,) * d), np.float32)
    for i, (o, s) in enumerate(zip(omega, sigma)):
        power = number ** (-1 - 2 * (o - 0.3)) * (1 + tilt * np.log(number / 4))
        power.flat[0] = 0
        white = np.fft.rfftn(rng.standard_normal((side,) * d))
        gaussian = np.fft.irfftn(white * np.sqrt(power), (side,) * d, axes=range(d))
        gaussian *= s * np.sqrt(2 if d == 2 else 6)
        fields[i] = rng.poisson(20 * np.exp(gaussian - gaussian.var() / 2))
    return fields


def write(
    path, fields, conditions=None, simulation=None, periodic=True, attributes=(), of="count", **grid
):
    d = fields.ndim - 1
    spec = SampleSpec(
        "field",
        "native",
        (1, *fields.shape[1:]),
        of,
        tuple(Condition(n, "", 0.0, 2.0) for n in conditions or ()),
        grid=Grid(
            **{
                "channels": ("counts",),
                "axes": ("x", "y", "z")[:d],
                "lengths": (LENGTH,) * d,
                "unit": "Mpc/h",
                "periodic": (periodic,) * d,
            }
            | grid
        ),
    )
    beside = {}
    if simulation is not None:
        beside = {
            "simulation": (Column((), "", "number of the simulation", (), "i8"), simulation),
            "seconds": (Column((), "s", "CPU time"), np.full(len(fields), 2.5, np.float32)),
        }
    columns = {name: column for name, (column, _) in beside.items()}
    with HDF5Writer(path, spec, len(fields), attributes=dict(attributes), beside=columns) as writer:
        writer.append(
            Samples(
                fields[:, None], {k: v.astype(np.float32) for k, v in (conditions or {}).items()}
            ),
            {name: values for name, (_, values) in beside.items()},
        )
    return path


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Few fields checked for copies and a small classifier; the logic is the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copies, "CHECKED", 12)
        tiny = dataclasses.replace(classifier.PRESETS["fast"], width=8, epochs=1)
        patch.setitem(classifier.PRESETS, "fast", tiny)
        yield


@pytest.fixture(scope="module")
def law():
    """The conditions of the reference, one set a simulation, and its fields."""
    rng = np.random.default_rng(0)
    omega, sigma = (
        rng.uniform(low, high, SIMULATIONS).repeat(EACH) for low, high in ((0.2, 0.4), (0.6, 1.0))
    )
    return omega, sigma, maps(rng, omega, sigma)


@pytest.fixture(scope="module")
def reference(law, tmp_path_factory):
    omega, sigma, fields = law
    simulation = np.arange(SIMULATIONS).repeat(EACH)
    path = tmp_path_factory.mktemp("reference") / "reference.h5"
    return write(path, fields, {"omega_m": omega, "sigma_8": sigma}, simulation)


def judged(generated, reference, folder, **options):
    """Return the record, and the lines of its verdict by what they are about; no figures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(field_page, "html", lambda record: "")
        record = benchmark(generated, reference, folder, classifiers=False, **options)
    return record, {line["what"]: line for line in record["verdict"]}


def made(tmp_path, law, fields, reference, **options):
    path = write(tmp_path / "g.h5", fields, dict(zip(NAMES, law[:2])))
    return judged(path, reference, tmp_path / "report", **options)


# -- verdicts -------------------------------------------------------------------------------------


def test_fields_of_the_same_law_are_good(law, reference, tmp_path):
    fields = maps(np.random.default_rng(1), *law[:2])
    record, lines = made(tmp_path, law, fields, reference)
    assert "poor" not in {line["status"] for line in lines.values()}
    for what in (
        "P(k) to half of Nyquist",
        "P(k) from half of Nyquist to Nyquist",
        "correlation of P(k)",
        "one-point distribution",
        "number of peaks",
        "response to sigma_8",
        "copies of reference fields",
        "copies of each other",
    ):
        assert lines[what]["status"] == "good", lines[what]
    entry = record["channels"][0]
    power = next(c for c in entry["curves"] if c["name"] == "power")
    pull = (np.array(power["ratio"]) - 1) / np.array(power["error"])
    assert np.sqrt(np.mean(pull**2)) < 2  # errors are neither invented nor forgotten
    assert np.sqrt(np.mean(pull**2)) > 0.4
    off = entry["correlations"]["difference"]
    assert off["value"] == pytest.approx(off["floor"], abs=4 * off["floor_error"])
    assert power["n"] == [SIMULATIONS * EACH] * 2
    assert power["simulations"] == [SIMULATIONS * EACH, SIMULATIONS]


def test_a_tilted_spectrum_fails(law, reference, tmp_path):
    fields = maps(np.random.default_rng(2), *law[:2], tilt=0.2)
    _, lines = made(tmp_path, law, fields, reference, max_samples=600)
    assert lines["P(k) to half of Nyquist"]["status"] == "poor"
    assert lines["P(k) from half of Nyquist to Nyquist"]["status"] == "poor"
    assert "h/Mpc" in lines["P(k) to half of Nyquist"]["text"]
    assert lines["copies of each other"]["status"] == "good"


def test_missing_peaks_fail(law, reference, tmp_path):
    fields = maps(np.random.default_rng(3), *law[:2])
    clipped = np.minimum(fields, np.quantile(law[2], 0.99))
    _, lines = made(tmp_path, law, clipped, reference, max_samples=400)
    assert lines["number of peaks"]["status"] == "poor"
    assert lines["one-point distribution"]["status"] == "poor"
    assert lines["number of voids"]["status"] != "poor"


def test_a_wrong_response_fails(law, reference, tmp_path):
    omega, sigma, _ = law
    fields = maps(np.random.default_rng(4), omega, 0.8 + 0.6 * (sigma - 0.8))
    record, lines = made(tmp_path, law, fields, reference, max_samples=800)
    assert lines["response to sigma_8"]["status"] == "poor"
    assert lines["P(k) at equal conditions"]["status"] == "poor"
    assert "sigma_8 from" in lines["P(k) at equal conditions"]["text"]
    slopes = record["channels"][0]["conditional"]["response"][1]
    assert slopes["condition"] == "sigma_8"
    assert np.median(slopes["ratio"]) == pytest.approx(0.6, abs=0.05)


def test_memorised_fields_fail(law, reference, tmp_path):
    rng = np.random.default_rng(5)
    fields = maps(rng, *law[:2])
    fields[::2] = [np.roll(f.T[::-1], rng.integers(0, SIDE, 2), (0, 1)) for f in law[2][::2]]
    _, lines = made(tmp_path, law, fields, reference, max_samples=300)
    assert lines["copies of reference fields"]["status"] == "poor"
    assert "are copies" in lines["copies of reference fields"]["text"]
    assert lines["copies of each other"]["status"] == "good"


def test_a_collapsed_generator_fails(law, reference, tmp_path):
    few = maps(np.random.default_rng(6), *(c[:40] for c in law[:2]))
    _, lines = made(tmp_path, law, np.tile(few, (30, 1, 1)), reference, max_samples=300)
    assert lines["copies of each other"]["status"] == "poor"
    assert lines["copies of reference fields"]["status"] == "good"


def test_a_dead_generator_is_measured(law, reference, tmp_path):
    _, lines = made(tmp_path, law, np.full_like(law[2], 20), reference, max_samples=200)
    assert lines["P(k) to half of Nyquist"]["status"] == "poor"


# -- the report -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(law, reference, tmp_path_factory):
    """One whole report of few fields, figures included: record and folder."""
    folder = tmp_path_factory.mktemp("whole")
    few = slice(0, 200)
    path = write(
        folder / "g.h5",
        maps(np.random.default_rng(7), *(c[few] for c in law[:2])),
        {n: c[few] for n, c in zip(NAMES, law[:2])},
    )
    return benchmark(
        path, reference, folder / "report", max_samples=400, seeds=1
    ), folder / "report"


def test_the_record_is_the_json_file(whole):
    record, output = whole
    assert json.loads((output / "report.json").read_text()) == record
    assert sorted(p.name for p in output.iterdir()) == ["report.html", "report.json", "report.md"]
    assert record["kind"] == "field"
    assert record["classifiers"]["observables"]["auc"]["n"] == 200


def test_of_several_channels_each_is_measured_by_itself(whole):
    record, _ = whole
    line = "| channels | each is measured, and copies are looked for, by itself; "
    assert line not in markdown(record)
    two = [{**entry, "channel": name} for entry in record["channels"] for name in ("vx", "vy")]
    assert line in markdown({**record, "channels": two})


def test_the_page_is_whole_and_needs_no_network(whole):
    text = (whole[1] / "report.html").read_text()
    assert text.count("<script") == 1
    bare = re.sub(r"data:image/[^\"]+", "", text)
    assert "http" not in bare
    for link in re.findall(r'href="#(\w+)"', bare):
        assert f'id="{link}"' in bare
    drawings = re.findall(r"data:image/svg\+xml;base64,([^\"]+)", text)
    assert len(drawings) == 8
    for drawing in drawings:
        ElementTree.fromstring(base64.b64decode(drawing))
    assert text.count("data:image/png") == 1


def test_markdown_tables_are_rectangular(whole):
    record, output = whole
    text = markdown(record)
    assert (output / "report.md").read_text() == text
    blocks = [b for b in text.split("\n\n") if b.startswith("|")]
    assert len(blocks) == 6
    for block in blocks:
        assert len({line.count("|") for line in block.splitlines()}) == 1
    assert "MS-SSIM" in text
    assert "h/Mpc" in text


def test_cost_is_shared_by_fields_of_a_simulation(whole):
    found = whole[0]["throughput"]
    assert found["reference_seconds_per_sample"] == 2.5
    assert found["reference_samples_per_simulation"] == EACH
    assert "4 fields of the reference" in (whole[1] / "report.html").read_text()


def test_pictures_are_of_equal_conditions(whole):
    pictures = whole[0]["channels"][0]["pictures"]
    pixels = base64.b64decode(pictures["reference"][0]["pixels"])
    assert len(pixels) == SIDE * SIDE
    for one, other in zip(pictures["reference"], pictures["generated"]):
        for name in NAMES:
            assert one["conditions"][name] == pytest.approx(other["conditions"][name], abs=0.1)
    rows = [p["row"] for p in pictures["generated"]]
    assert len(set(rows)) == len(rows)


def test_boxes_that_are_not_periodic_and_have_no_conditions(tmp_path):
    rng = np.random.default_rng(8)
    paths = [
        write(
            tmp_path / f"{name}.h5", maps(rng, [0.3] * n, [0.8] * n, d=3, side=16), periodic=False
        )
        for name, n in (("g", 12), ("r", 16))
    ]
    record, lines = judged(*paths, tmp_path / "report")
    entry = record["channels"][0]
    assert entry["conditional"] is None
    assert [f["name"] for f in entry["minkowski"]["functionals"]][2] == "mean curvature per volume"
    assert entry["pictures"]["depth"] == LENGTH / 8
    assert "poor" not in {line["status"] for line in lines.values()}
    assert lines["P(k) to half of Nyquist"]["status"] == "unclear"  # twelve boxes cannot tell 2 %
    assert field_plots.minkowski(entry["minkowski"]).startswith("data:image/svg")
    assert "Response to conditions" not in (tmp_path / "report" / "report.md").read_text()


def test_the_same_seed_gives_the_same_figures(law, reference, tmp_path):
    twin = write(tmp_path / "t.h5", np.roll(law[2], 1, 1), dict(zip(NAMES, law[:2])))
    first, second, other = (
        judged(twin, reference, tmp_path / name, max_samples=60, seed=seed)[0]
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert first["channels"] == second["channels"]
    assert first["channels"] != other["channels"]


# -- which fields ---------------------------------------------------------------------------------


def test_bad_pairs_are_refused(law, reference, tmp_path):
    few = law[2][:20]
    conditions = {n: c[:20] for n, c in zip(NAMES, law[:2])}

    def refused(match, fields=few, **options):
        path = write(
            tmp_path / f"{len(list(tmp_path.iterdir()))}.h5", fields, conditions, **options
        )
        with pytest.raises(InputError, match=match):
            judged(path, reference, tmp_path / "report")

    refused(r"differ in cells.*16, 16 and 32, 32", few[:, ::2, ::2])
    refused("differ in lengths", lengths=(50.0, 50.0))
    refused("differ in periodic", periodic=False)
    refused(r"differ in channels.*gas and counts", channels=("gas",))
    holed = few.copy()
    holed[3, 0, 0] = np.nan
    with pytest.raises(InputError, match="field 3 holds NaN"):
        judged(
            write(tmp_path / "nan.h5", np.concatenate([holed]), conditions),
            reference,
            tmp_path / "report",
        )
    with pytest.raises(InputError, match=r"7 generated fields.*at least 8"):
        load_fields(
            write(tmp_path / "few.h5", few[:7], {n: c[:7] for n, c in conditions.items()}),
            reference,
            None,
            0,
        )
    assert not (tmp_path / "report").exists()


def test_showers_against_fields_are_refused(reference, shower_file, tmp_path):
    with pytest.raises(InputError, match="showers"):
        benchmark(reference, shower_file, tmp_path / "report")
    with pytest.raises(InputError, match="geometry"):
        benchmark(shower_file, reference, tmp_path / "report")


def test_other_conditions_are_warned_of(law, reference, tmp_path):
    conditions = {n: c[:100] for n, c in zip(NAMES, law[:2])}
    twin = write(tmp_path / "t.h5", np.roll(law[2], 1, 1), dict(zip(NAMES, law[:2])))
    same = load_fields(twin, reference, None, 0)
    assert same.paired
    assert same.warnings == ()
    conditions["sigma_8"] = np.full(100, 0.8)
    shifted = np.roll(law[2][:100], 1, 1)
    pair = load_fields(write(tmp_path / "g.h5", shifted, conditions), reference, None, 0)
    assert pair.p_values["sigma_8"] < 1e-3
    assert "--conditions" in pair.warnings[0]
    assert "omega_m" not in pair.warnings[0]
    del conditions["sigma_8"]
    pair = load_fields(write(tmp_path / "o.h5", shifted, conditions), reference, None, 0)
    assert "Only one of the files has sigma_8" in pair.warnings[0]
    assert pair.names == ("omega_m",)


def provenance(path, source, shares):
    with h5py.File(path, "a") as file:
        file.attrs["training_data_sha256"] = content_hash(source)
        file.attrs["training_split"] = json.dumps(
            shares | {"rows": {"train": 600, "validation": 120, "test": 480}}
        )
    return path


def test_only_simulations_of_the_test_split_are_used(law, reference, tmp_path):
    shares = {"validation": 0.1, "test": 0.4, "seed": 3}
    path = write(tmp_path / "g.h5", law[2][:50], {n: c[:50] for n, c in zip(NAMES, law[:2])})
    provenance(path, reference, shares)
    pair = load_fields(path, reference, None, 0)
    expected = Dataset(reference).split(**shares)
    np.testing.assert_array_equal(pair.rows["reference"], expected["test"])
    np.testing.assert_array_equal(pair.trained, expected["train"])
    numbers = pair.simulations["reference"]
    np.testing.assert_array_equal(np.unique(numbers), split_rows(SIMULATIONS, **shares)["test"])
    assert "test split" in pair.files["reference"]["selection"]
    assert pair.warnings == ()

    parts = split(reference, tmp_path / "parts", **shares)
    tested = load_fields(path, parts["test"], None, 0)
    assert len(tested.rows["reference"]) == len(expected["test"])
    assert "did not see" in tested.files["reference"]["selection"]
    assert "held out" in load_fields(path, parts["train"], None, 0).warnings[0]
    other = split(reference, tmp_path / "other", **(shares | {"seed": 4}))["test"]
    seen = load_fields(path, other, None, 0)
    assert np.isin(np.unique(seen.simulations["reference"]), np.unique(numbers)).all()


def test_copies_are_sought_among_the_fields_trained_on(law, reference, tmp_path):
    shares = {"validation": 0.1, "test": 0.4, "seed": 3}
    trained = Dataset(reference).split(**shares)["train"]
    path = write(
        tmp_path / "g.h5",
        law[2][trained[:80]],
        {n: c[trained[:80]] for n, c in zip(NAMES, law[:2])},
    )
    _, lines = judged(provenance(path, reference, shares), reference, tmp_path / "report")
    assert lines["copies of training fields"]["status"] == "poor"
    assert lines["fault: copies"]["status"] == "poor"
    assert (
        "80 of 80 generated fields are fields that were trained on"
        in (lines["fault: copies"]["text"])
    )


# -- parts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [2, 3])
def test_copies_are_found_however_shifted_and_turned(d):
    rng = np.random.default_rng(9)
    fields = rng.normal(size=(6, *(32,) * d)).astype(np.float32)
    images = np.roll(np.flip(fields.swapaxes(1, d), 2), (5, 11), (1, 2))
    found = closest(large_scales(images, [False] * d), large_scales(fields, [False] * d))
    np.testing.assert_array_equal(found.partners, np.arange(6))
    assert found.correlations.min() > 0.8
    apart = ~np.eye(6, dtype=bool)
    others = closest(large_scales(images, [False] * d), large_scales(fields, [False] * d), apart)
    assert others.correlations.max() < 0.5
    np.testing.assert_allclose(aligned(images[0], fields[0], True), fields[0])


def test_levelling_takes_conditions_out_and_leaves_means_at_equal_ones():
    rng = np.random.default_rng(10)
    c = rng.uniform(1, 2, (500, 2))
    rows = np.exp(c @ [[1.0], [-0.5]]) * rng.lognormal(0, 0.01, (500, 1))
    level = Levelling(c, c, 500)
    gen, ref = level.ratios(1.1 * rows, rows)
    assert ref.std() / ref.mean() < 0.02 < rows.std() / rows.mean()
    assert gen.mean() / ref.mean() == pytest.approx(1.1)
    gen, ref = level.differences(rows + 1, rows)
    assert gen.mean() - rows.mean() == pytest.approx(1)
    assert ref.mean() == pytest.approx(rows.mean())
    few = Levelling(c[:4], c[:4], 4).differences(rows[:4], rows[:4])
    np.testing.assert_array_equal(few[1], rows[:4])


def test_response_is_the_slope_of_the_logarithm():
    rng = np.random.default_rng(11)
    c = rng.uniform(0, 1, (400, 2))
    rows = np.exp(c @ [[2.0, 1.0], [-1.0, 3.0]]) * rng.lognormal(0, 0.1, (400, 2))
    groups = np.arange(400) // 2
    found = response((rows, c, groups), (rows**2, c, groups), rng)
    np.testing.assert_allclose(found.generated, [[2, 1], [-1, 3]], atol=0.1)
    np.testing.assert_allclose(found.ratio, 0.5)
    assert response((rows, c, groups), (rows, c, np.zeros(400)), rng) is None


def test_groups_of_conditions():
    c = np.repeat([[0.3, 0.8], [0.3, 0.9]], 5, 0)
    groups = condition_groups(("omega_m", "sigma_8"), c[:3], c)
    assert [g[0] for g in groups] == ["sigma_8 = 0.8", "sigma_8 = 0.9"]
    assert [int(g[2].sum()) for g in groups] == [3, 0]
    assert condition_groups(("omega_m",), c[:, :1], c[:, :1]) == []
    wide = np.linspace(0, 1, 90)[:, None]
    thirds = condition_groups(("sigma_8",), wide, wide)
    assert [int(g[3].sum()) for g in thirds] == [30, 30, 30]


@pytest.mark.parametrize(("length", "unit", "inverse"), [(5.0, "deg", "1/deg"), (50, "mm", "1/mm")])
def test_lengths_and_fields_of_other_units(tmp_path, length, unit, inverse):
    """Temperatures of 2.7 K on a patch of sky: nothing is said in Mpc/h, the mean hides nothing."""
    rng = np.random.default_rng(9)
    of = {"of": "K", "unit": unit, "lengths": (length, length), "channels": ("temperature",)}
    paths = []
    for name in ("g", "r"):
        counts = maps(rng, [0.3] * 24, [0.8] * 24)
        warm = (2.725 + 0.002 * (counts - 20)).astype(np.float32)
        paths.append(write(tmp_path / f"{name}.h5", warm, periodic=False, **of))
    record = benchmark(*paths, tmp_path / "report", classifiers=False)
    entry = record["channels"][0]
    power = entry["curves"][0]
    assert power["axis"] == ["k", inverse]
    first = (1 + 2**0.5) / 2 * 2 * np.pi / length  # modes (1, 0) and (1, 1), four of each
    assert power["x"][0] == pytest.approx(first)
    assert power["unit"] == f"(K)^2 ({unit})^2"
    # of the mean 2.7 K nothing is in the lowest shell: tapered white noise of the maps' width
    assert power["reference"][0] < 0.2**2 * length**2
    text = (tmp_path / "report" / "report.md").read_text()
    pages = [re.sub(r"data:image/[^\"]+", "", (tmp_path / "report" / "report.html").read_text())]
    for drawing in re.findall(
        r"svg\+xml;base64,([^\"]+)", (tmp_path / "report" / "report.html").read_text()
    ):
        pages.append(base64.b64decode(drawing).decode())
    assert not any("Mpc" in words for words in (text, json.dumps(record["channels"]), *pages))
    assert inverse in json.dumps(record["verdict"])


def test_masses_over_decades_are_compared_in_their_logarithm(tmp_path):
    rng = np.random.default_rng(10)
    of = {"of": "(Msun/h)/(Mpc/h)^2", "channels": ("mass",)}
    paths = [
        write(tmp_path / f"{n}.h5", 1e9 * (1 + maps(rng, [0.3] * 16, [0.9] * 16)) ** 4, **of)
        for n in ("g", "r")
    ]
    entry = judged(*paths, tmp_path / "report")[0]["channels"][0]
    curve = next(c for c in entry["curves"] if c["name"] == "one_point")
    edges = np.array(curve["edges"])
    np.testing.assert_allclose(np.diff(np.log(edges)), np.log(edges[1] / edges[0]), rtol=1e-4)
    assert entry["pictures"]["shows"].startswith("mass, log10 of (Msun/h)")
    assert max(curve["reference"]) < 0.2
    assert field_plots.curves([curve], {"one_point": [(-np.inf, 0.05)]}).startswith("data:image")
