import warnings

import numpy as np
import pytest

from emulators.errors import InputError
from emulators.observables import features, neighbourhoods
from emulators.observables.features import (
    fpd,
    frechet_distance,
    kernel_distance,
    kpd,
    whole_frechet_distance,
)
from emulators.observables.neighbourhoods import prdc


def samples():
    rng = np.random.default_rng(11)
    mixing = rng.random((4, 4)) - 0.5
    reference = (rng.random((1500, 4)) - 0.5) @ mixing + 0.2
    generated = 1.1 * (rng.random((1200, 4)) - 0.5) @ mixing + 0.23
    return reference, generated


def without_a_feature(sample):
    return sample * [1, 1, 0, 1]


# Frechet distance -----------------------------------------------------------------------------


def test_frechet_distance_of_independent_features():
    sigma, other = np.array([1.0, 2.0, 0.5]), np.array([1.5, 0.5, 0.5])
    found = frechet_distance(
        np.zeros(3), np.diag(sigma**2), np.array([3.0, 0, 4]), np.diag(other**2)
    )
    assert found == pytest.approx(25 + ((sigma - other) ** 2).sum())


def test_frechet_distance_of_two_ellipses_that_are_turned():
    # of two by two matrices the trace of the root is sqrt(tr M + 2 sqrt(det M))
    a, b = np.array([[4.0, 1], [1, 2]]), np.array([[1.0, -0.6], [-0.6, 3]])
    root = np.sqrt(np.trace(a @ b) + 2 * np.sqrt(np.linalg.det(a @ b)))
    zero = np.zeros(2)
    assert frechet_distance(zero, a, zero, b) == pytest.approx(np.trace(a + b) - 2 * root)


def test_frechet_distance_of_singular_covariances():
    # all on one line, which is another line: the overlap is s t |cos|
    a = 4 * np.array([[1.0, 0], [0, 0]])
    b = 9 * np.array([[0.5, 0.5], [0.5, 0.5]])
    zero = np.zeros(2)
    assert frechet_distance(zero, a, zero, a) == pytest.approx(0, abs=1e-14)
    assert frechet_distance(zero, a, zero, b) == pytest.approx(4 + 9 - 2 * 2 * 3 / np.sqrt(2))


# FPD and KPD ----------------------------------------------------------------------------------


def test_fpd_is_that_of_jetnet():
    # jetnet 0.2.5 with numpy 2.4.6 and scipy 1.17.1, min_samples=300, max_samples=1500
    a, b = samples()
    sizes = {"min_samples": 300, "max_samples": 1500}
    expected = (0.012980097867406353, 0.0004177911595932304)
    assert fpd(a, b, **sizes) == pytest.approx(expected, rel=1e-6)
    expected = (0.013710497248121822, 0.0006955596984844736)
    assert fpd(a, b, **sizes, seed=7) == pytest.approx(expected, rel=1e-6)
    expected = (0.008441913210436924, 0.0004010236250346587)
    found = fpd(without_a_feature(a), without_a_feature(b), **sizes)
    assert found == pytest.approx(expected, rel=1e-6)


def test_kpd_is_that_of_jetnet():
    # jetnet 0.2.5 with numpy 2.4.6 and scipy 1.17.1, batch_size=500
    a, b = samples()
    expected = (0.022322175228586927, 0.006865293934183063)
    assert kpd(a, b, batch_size=500) == pytest.approx(expected, rel=1e-9)
    expected = (0.018843042320211056, 0.0035563566947740786)
    assert kpd(a, b, batch_size=500, seed=7) == pytest.approx(expected, rel=1e-9)


def test_against_jetnet_where_it_is_installed():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = pytest.importorskip("jetnet.evaluation", exc_type=ImportError)
        rng = np.random.default_rng(5)
        a, b = rng.gamma(2, size=(900, 7)), rng.gamma(2.1, size=(700, 7))
        sizes = {"min_samples": 200, "max_samples": 800}
        assert fpd(a, b, **sizes) == pytest.approx(theirs.fpd(a, b, **sizes), rel=1e-6)
        expected = theirs.kpd(a, b, batch_size=300)
        assert kpd(a, b, batch_size=300) == pytest.approx(expected, rel=1e-9)


def test_fpd_of_two_gaussians():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((20_000, 3)), rng.standard_normal((20_000, 3)) * 1.2 + 0.5
    largest = np.abs(a).max(0)
    value, error = fpd(a, b, min_samples=2000, max_samples=20_000)
    assert value == pytest.approx(((0.5 / largest) ** 2 + (0.2 / largest) ** 2).sum(), rel=0.05)
    assert 0 < error < 0.05 * value


def test_fpd_of_equal_distributions_is_of_the_order_of_one_over_n():
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((2, 4000, 3)) / 4
    value, _ = fpd(a, b, min_samples=800, max_samples=4000)
    # the mean of |shift|^2 is 2 tr C / n, and normalising divides by 0.8 or so
    assert 0 <= value < 10 * 2 * 3 / 16 / 4000


def by_recipe(a, b, sizes, seed=42):
    """Say the recipe of FPD in words that cost: rows repeated, roots by eigenvectors."""
    a, b = a / np.abs(a).max(0), b / np.abs(a).max(0)

    def root(rows):
        variances, axes = np.linalg.eigh(np.cov(rows, rowvar=False))
        return axes * np.sqrt(np.maximum(variances, 0))

    rng, values = np.random.default_rng(seed), []
    for n in (1 / np.linspace(1 / sizes[0], 1 / sizes[1], 10)).astype(int):
        found = []
        for _ in range(20):
            x, y = (s[rng.choice(len(s), size=n)] for s in (a, b))
            overlap = np.linalg.svd(root(x).T @ root(y), compute_uv=False).sum()
            shift = x.mean(0) - y.mean(0)
            own = sum(s.var(0, ddof=1).sum() for s in (x, y))
            found.append(shift @ shift + own - 2 * overlap)
        values.append((1 / n, np.mean(found)))
    return np.polynomial.Polynomial.fit(*zip(*values, strict=True), 1).convert().coef[0]


@pytest.mark.parametrize("n", [25, 90])
def test_fpd_of_fewer_samples_than_features_and_of_more(n):
    rng = np.random.default_rng(12)
    mixing = rng.standard_normal((40, 40))
    a, b = rng.standard_normal((n, 40)) @ mixing, 3 * rng.standard_normal((n, 40)) @ mixing
    value, _ = fpd(a, b, min_samples=12, max_samples=2 * n)
    assert value == pytest.approx(by_recipe(a, b, (12, 2 * n)), rel=1e-6)


def test_the_distance_of_whole_samples_is_where_fpd_ends():
    rng = np.random.default_rng(13)
    a, b = rng.standard_normal((3000, 3)), 1.5 * rng.standard_normal((3000, 3))
    largest = np.abs(a).max(0)
    moments = [f(x / largest) for x in (a, b) for f in (lambda y: y.mean(0), lambda y: np.cov(y.T))]
    whole = whole_frechet_distance(a, b)
    assert whole == pytest.approx(frechet_distance(*moments))
    value, error = fpd(a, b, min_samples=600, max_samples=3000)
    assert abs(value - whole) < 4 * error < 0.1 * whole


@pytest.mark.parametrize("way", ["_by_moments", "_by_products"])
def test_kernel_distance_by_hand_and_in_blocks(monkeypatch, way):
    for name in ("_by_moments", "_by_products"):
        monkeypatch.setattr(features, name, getattr(features, way))
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((23, 3)), rng.standard_normal((17, 3)) + 0.5

    def mean(x, y, same):
        pairs = [
            (sum(p * q for p, q in zip(u, v)) / 3 + 1) ** 4
            for i, u in enumerate(x)
            for j, v in enumerate(y)
            if not (same and i == j)
        ]
        return sum(pairs) / len(pairs)

    expected = mean(a, a, True) + mean(b, b, True) - 2 * mean(a, b, False)
    assert kernel_distance(a, b) == pytest.approx(expected)
    monkeypatch.setattr(features, "_ENTRIES", 100)  # blocks of 4 to 10 rows, the last one shorter
    assert kernel_distance(a, b) == pytest.approx(expected)
    a, b = (s[rng.choice(len(s), size=60)] for s in (a, b))  # rows that repeat count so often
    rows, counts = zip(*(np.unique(s, axis=0, return_counts=True) for s in (a, b)), strict=True)
    found = features._kernel_distance(rows[0], counts[0], rows[1], counts[1])
    assert found == pytest.approx(kernel_distance(a, b))


def test_kernel_distance_of_two_normals_and_of_one():
    # (x y + 1)^4 compares the first four moments: sum over j of (4 over j) (m_j - m'_j)^2
    mean = 0.3
    moments = np.array([mean, 1 + mean**2, mean**3 + 3 * mean, mean**4 + 6 * mean**2 + 3])
    expected = np.array([4, 6, 4, 1]) @ (moments - [0, 1, 0, 3]) ** 2
    found, null = [], []
    for k in range(40):
        a, b, c = np.random.default_rng(k).standard_normal((3, 1000, 1))
        found.append(kernel_distance(a, b + mean))
        null.append(kernel_distance(a, c))
    for values, truth in ((found, expected), (null, 0)):
        assert abs(np.mean(values) - truth) < 4 * np.std(values) / np.sqrt(40)
    assert min(null) < 0  # unbiased, so about half of them are
    assert np.mean(found) > 10 * np.std(null)


# precision, recall, density, coverage ---------------------------------------------------------


def by_hand(reference, generated, k):
    """Say the definitions sample by sample, in float64."""

    def distance(x, y):
        return np.sqrt(((x - y) ** 2).sum())

    def ball(sample, i):
        others = sorted(distance(sample[i], s) for j, s in enumerate(sample) if j != i)
        return others[k - 1]

    balls = [ball(reference, i) for i in range(len(reference))]
    other_balls = [ball(generated, j) for j in range(len(generated))]
    inside = [[distance(r, g) < s for r, s in zip(reference, balls)] for g in generated]
    reached = [[distance(r, g) < s for g, s in zip(generated, other_balls)] for r in reference]
    return {
        "precision": np.mean([any(row) for row in inside]),
        "recall": np.mean([any(row) for row in reached]),
        "density": np.sum(inside) / (k * len(generated)),
        "coverage": np.mean([any(column) for column in zip(*inside)]),
    }


@pytest.mark.parametrize("k", [1, 3])
def test_prdc_by_hand_and_in_blocks(monkeypatch, k):
    rng = np.random.default_rng(3)
    reference = rng.standard_normal((60, 2)).astype(np.float32)
    generated = (0.9 * rng.standard_normal((45, 2)) + 1.2).astype(np.float32)
    expected = by_hand(reference, generated, k)
    assert not {0, 1} & {*expected.values()}  # each tells something
    assert prdc(reference, generated, k) == pytest.approx(expected)
    monkeypatch.setattr(neighbourhoods, "_ENTRIES", 400)  # blocks of 6 to 8 rows
    monkeypatch.setattr(neighbourhoods, "_COLUMNS", 16)
    assert prdc(reference, generated, k) == pytest.approx(expected)


def test_prdc_of_one_distribution():
    # Naeem et al., equations 10 and 11: in any dimension
    rng = np.random.default_rng(4)
    n, m, k = 1500, 1000, 5
    missed = np.prod([(n - i) / (n + m - i) for i in range(1, k + 1)])
    found = prdc(rng.standard_normal((n, 6)), rng.standard_normal((m, 6)), k)
    assert found["density"] == pytest.approx(1, abs=0.1)
    assert found["coverage"] == pytest.approx(1 - missed, abs=0.025)


def test_identical_and_disjoint_samples():
    x = np.random.default_rng(5).standard_normal((300, 4))
    same = prdc(x, x)
    assert (same["precision"], same["recall"], same["coverage"]) == (1, 1, 1)
    # each lies in its own ball, and in one for each of those it is among the four nearest of
    assert same["density"] == pytest.approx(1)
    assert prdc(x, x + 1000) == {"precision": 0, "recall": 0, "density": 0, "coverage": 0}


def test_lost_modes_copies_and_noise_move_what_they_should():
    rng = np.random.default_rng(6)
    modes = np.array([[0.0, 0], [20, 0], [0, 20], [20, 20]])
    reference, good = (modes[rng.integers(0, 4, 800)] + rng.standard_normal((800, 2)) for _ in "ab")
    whole = prdc(reference, good)
    lost = prdc(reference, modes[rng.integers(0, 2, 800)] + rng.standard_normal((800, 2)))
    assert lost["precision"] == pytest.approx(whole["precision"], abs=0.03)
    for name in ("recall", "coverage"):
        assert lost[name] == pytest.approx(whole[name] / 2, abs=0.06)
    # 800 of which 20 are different, and real: their balls are points without a border, so empty
    copies = prdc(reference, reference[rng.integers(0, 20, 800)])
    assert copies["recall"] == 0
    assert copies["coverage"] < 0.2
    noisy = good.copy()
    noisy[:400] = rng.uniform(5, 15, (400, 2))
    noise = prdc(reference, noisy)
    assert noise["precision"] == pytest.approx(whole["precision"] / 2, abs=0.03)
    assert noise["density"] == pytest.approx(whole["density"] / 2, abs=0.08)


def test_far_from_the_origin_equal_rows_are_still_equal():
    x = np.random.default_rng(14).standard_normal((200, 3))
    six = np.repeat(x, 6, 0)  # each equals its five nearest: their balls hold nothing
    for shift in (0, 1e4):
        found = prdc(x + shift, x + shift)
        assert found == prdc(x, x)
        nothing = {"precision": 0, "recall": 1, "density": 0, "coverage": 0}
        assert prdc(six + shift, x + shift) == nothing


# bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", [fpd, kpd, prdc])
def test_samples_that_cannot_be_compared_are_refused(metric):
    x = np.ones((20, 3))
    with pytest.raises(InputError, match=r"\(20, 3\) and generated ones of shape \(20, 2\)"):
        metric(x, x[:, :2])
    with pytest.raises(InputError, match=r"shape \(0, 3\)"):
        metric(x, x[:0])
    bad = x.copy()
    bad[[3, 7], 1] = np.nan, np.inf
    with pytest.raises(InputError, match="generated features: 2 of 20 samples hold NaN"):
        metric(x, bad)


def test_sizes_that_make_no_sense_are_refused():
    x = np.random.default_rng(7).standard_normal((20, 3))
    with pytest.raises(InputError, match="resamplings of 10 to 10 samples"):
        fpd(x, x, min_samples=10, max_samples=10)
    with pytest.raises(InputError, match="batches of 1 samples"):
        kpd(x, x, batch_size=1)
    for k in (0, 5):
        with pytest.raises(InputError, match=f"{k} nearest neighbours among 20 reference and 5"):
            prdc(x, x[:5], k)
