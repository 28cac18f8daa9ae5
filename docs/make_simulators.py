"""Simulate what docs/simulators.md shows, and draw its figures: ``python docs/make_simulators.py``.

Samples go to the folder ``validation`` and are used again; figures go to ``docs/figures``.  All of
it takes about a quarter of an hour of one core; name the parts to make: showers, fields, sky.
"""

import sys
from pathlib import Path
from typing import Any

import h5py
import matplotlib
import numpy as np
from scipy import ndimage

from emulators.observables.spectra import correlation_coefficients, power_spectra
from emulators.simulators.campaign import simulate_file
from emulators.simulators.cosmology import Cosmology, growth_factor, halofit_power, linear_power
from emulators.simulators.recipe import SimulationRecipe, read_simulation

matplotlib.use("svg")
from matplotlib import pyplot as plt

SAMPLES, FIGURES = Path("validation"), Path(__file__).with_name("figures")
X0 = 2 / 5.6122 + 4 / 139.99  # radiation lengths in 2 mm Pb + 4 mm liquid Ar
CRITICAL = 8.8  # MeV: what a minimum ionising particle loses in one of them
COLOURS = {"photon": "#0072b2", "electron": "#009e73", "positron": "#d55e00"}
# About the same statistical error at every energy: GeV, how many times in turn.
ENERGIES = {1: 16, 2: 8, 5: 4, 10: 2, 20: 1, 50: 1, 100: 1}


def sample(name: str, recipe: dict[str, Any] | SimulationRecipe, n: int) -> h5py.File:
    """Return the samples of a recipe, simulated now or before."""
    SAMPLES.mkdir(exist_ok=True)
    path = SAMPLES / f"{name}.h5"
    if not path.exists():
        if not isinstance(recipe, SimulationRecipe):
            recipe = read_simulation(recipe)
        simulate_file(recipe, path, n, progress=True)
    return h5py.File(path)


def showers() -> None:
    """Longitudinal profile, depth of the maximum, linearity, resolution, sampling fraction."""
    readout = [
        {"depth": [6.0 * i, 6.0 * (i + 1)], "cells": [1, 1], "extent": 240.0} for i in range(80)
    ]
    energies = [float(e) for e, times in ENERGIES.items() for _ in range(times)]
    figure, axes = plt.subplots(2, 2, figsize=(9, 6.6), layout="constrained")
    depth = (np.arange(80) + 0.5) * X0
    for particle, colour in COLOURS.items():
        simulator = {"name": "geant4", "particle": particle, "energy": energies, "readout": readout}
        with sample(particle, {"simulator": simulator}, 100 * len(energies)) as file:
            energy = file["energy"][:, 0]
            total, active = (
                np.stack([file[f"{key}{i}"][:, 0, 0] for i in range(80)], 1)
                for key in ("layer_", "active_layer_")
            )
        rows = [report(total[energy == e], active[energy == e], e, depth) for e in ENERGIES]
        top, seen, width = (np.array([row[k] for row in rows]) for k in ("top", "seen", "width"))
        e = np.array(list(ENERGIES))
        sign = 0.5 if particle == "photon" else -0.5
        print(particle, *map(str, rows), sep="\n  ")
        (slope, start), c = np.polyfit(np.log(e), top[:, 0], 1, w=1 / top[:, 1], cov="unscaled")
        print(f"  t_max = {start:.2f} + ({slope:.3f} +- {c[0, 0] ** 0.5:.3f}) ln(E/GeV)")
        label = {"color": colour, "label": particle}
        axes[0, 1].errorbar(e, top[:, 0], top[:, 1], fmt="o", ms=4, **label)
        axes[0, 1].plot(e, np.log(1000 * e / CRITICAL) + sign, color=colour, lw=1)
        mean = np.average(seen[:, 0], weights=seen[:, 1] ** -2)
        axes[1, 0].errorbar(
            e,
            100 * (seen[:, 0] / mean - 1),
            100 * seen[:, 1] / mean,
            fmt="o-",
            lw=0.6,
            ms=4,
            **label,
        )
        axes[1, 1].errorbar(e, 100 * width[:, 0], 100 * width[:, 1], fmt="o", ms=4, **label)
        if particle == "photon":
            for value in (1, 10, 100):
                axes[0, 0].plot(
                    depth, total[energy == value].mean(0) / value / X0 / 10, label=f"{value} GeV"
                )
    fine = np.geomspace(1, 100)
    axes[1, 1].plot(fine, 7.1 / np.sqrt(fine), color="#8a9099", lw=1, label=r"7.1 % / $\sqrt{E}$")
    axes[1, 0].axhspan(-0.5, 0.5, color="#b4b9c0", alpha=0.4, lw=0)
    axes[0, 0].set(xlabel="depth [$X_0$]", ylabel="energy per $X_0$ [% of the incident energy]")
    axes[0, 1].set(
        xlabel="incident energy [GeV]", ylabel="depth of the maximum [$X_0$]", xscale="log"
    )
    axes[1, 0].set(
        xlabel="incident energy [GeV]",
        ylabel="energy in argon / incident, off its mean [%]",
        xscale="log",
    )
    axes[1, 1].set(
        xlabel="incident energy [GeV]", ylabel="resolution in argon [%]", xscale="log", yscale="log"
    )
    for axis in axes.flat[1:]:
        axis.set_xticks([1, 10, 100], ["1", "10", "100"])
    axes[1, 1].set_yticks([0.7, 1, 2, 5], ["0.7", "1", "2", "5"])
    axes[1, 1].set_yticks([], [], minor=True)
    for axis in axes.flat:
        axis.legend(frameon=False, fontsize=8)
    save(figure, "showers")


def report(total: Any, active: Any, energy: float, depth: Any) -> dict[str, Any]:
    """Return the observables of showers of one energy, each with its standard error."""
    n = len(total)
    seen = active.sum(1) / energy  # MeV per GeV
    share = active.sum(1) / total.sum(1)
    halves = [maximum(total[k::10].mean(0), depth) for k in range(10)]
    return {
        "energy": energy,
        "n": n,
        "deposited": (total.sum(1) / energy / 1000).mean().round(5),
        "share": (share.mean().round(5), (share.std(ddof=1) / n**0.5).round(5)),
        "seen": (seen.mean(), seen.std(ddof=1) / n**0.5),
        "width": (seen.std(ddof=1) / seen.mean(), seen.std(ddof=1) / seen.mean() / (2 * n) ** 0.5),
        "top": (maximum(total.mean(0), depth), np.std(halves, ddof=1) / 10**0.5),
    }


def maximum(profile: Any, depth: Any) -> float:
    """Return where a profile is highest: a parabola through its logarithms near the top."""
    near = profile > 0.75 * profile.max()
    c = np.polyfit(np.log(depth[near]), np.log(profile[near]), 2)
    return float(np.exp(-c[1] / (2 * c[0])))


def fields() -> None:
    """Draw a slab, P(k) against theory at three redshifts, and pairs of the same universe."""
    box, n, redshifts = 200.0, 12, [0.0, 1.0, 3.0]
    web = {"name": "nbody", "box": box, "particles": 128, "cells": 128}
    run = {**web, "redshifts": redshifts, "quantity": "overdensity", "assignment": "TSC"}
    with sample("nbody", {"simulator": run}, n * len(redshifts)) as file:
        density, z = file["fields"][:, 0], file["conditions"]["redshift"]
    figure, axes = plt.subplots(2, 2, figsize=(9, 7.6), layout="constrained")
    slab = 8 + density[0, :, :, :8].sum(2)
    shown = axes[0, 0].imshow(
        np.log10(slab.T + 0.1), origin="lower", extent=(0, box, 0, box), cmap="magma"
    )
    figure.colorbar(shown, ax=axes[0, 0], label=r"$\log_{10}$ particles")
    axes[0, 0].set(xlabel="x [Mpc/h]", ylabel="y [Mpc/h], 12.5 Mpc/h thick")
    cosmology = Cosmology()
    linear, halofit = linear_power(cosmology), halofit_power(cosmology)
    axes[0, 1].loglog(*linear, color="#8a9099", lw=1, ls=":", label="linear, z = 0")
    axes[0, 1].loglog(*halofit, color="#8a9099", lw=1, label="halofit, z = 0")
    edges = 2 * np.pi / box * np.concatenate([np.arange(0.5, 10), np.geomspace(10.5, 64, 14)])
    for value, colour in zip(redshifts, COLOURS.values()):
        shot_noise = box**3 / 128**3 if value == 0 else 0.0
        found = power_spectra(
            density[z == value], (box,) * 3, edges, window="TSC", shot_noise=shot_noise
        )
        k, modes, p = found.k, found.modes, found.power
        mean, error = p.mean(0), p.std(0, ddof=1) / n**0.5
        axes[0, 1].loglog(k, mean, color=colour, label=f"z = {value:g}")
        growth = float(growth_factor(cosmology, value)) ** 2
        theory = np.interp(k, linear[0], linear[1]) * growth
        axes[1, 0].errorbar(
            k,
            mean / theory,
            error / theory,
            fmt="o-",
            ms=3,
            lw=0.8,
            color=colour,
            label=f"z = {value:g} / linear",
        )
        low = k < 0.15
        ratio = np.average(mean[low] / theory[low], weights=modes[low])
        error = np.sqrt(2 / (n * modes[low].sum()))
        print(f"z = {value:g}: P / linear = {ratio:.3f} +- {error:.3f} for k < 0.15")
        if value == 0:
            full = np.interp(k, *halofit)
            axes[1, 0].errorbar(
                k,
                mean / full,
                mean * 0,
                fmt="s--",
                ms=3,
                lw=0.8,
                color="#1b1f24",
                label="z = 0 / halofit",
            )
            for a, b in ((0.1, 0.35), (0.35, 0.7), (0.7, 1.3)):
                inside = (k > a) & (k < b)
                print(f"  P / halofit = {(mean / full)[inside].mean():.3f} for {a} < k < {b}")
    axes[0, 1].set(xlabel="k [h/Mpc]", ylabel="P(k) [(Mpc/h)$^3$]", xlim=(0.02, 2.1), ylim=(1, 4e4))
    axes[1, 0].axhline(1, color="#b4b9c0", lw=0.8)
    axes[1, 0].set(
        xlabel="k [h/Mpc]", ylabel="ratio of P(k)", xscale="log", ylim=(0.5, 1.6), xlim=(0.025, 2.1)
    )
    pairs = {
        "2LPT and the full run": {"kind": "2lpt"},
        "64$^3$ and 128$^3$ particles": {"kind": "resolution", "particles": 64},
        "z = 1 and z = 0": {"kind": "redshift", "redshift": 1.0},
    }
    for (label, pair), colour in zip(pairs.items(), COLOURS.values()):
        simulator = {**web, "pair": pair}
        with sample(f"pair_{pair['kind']}", {"simulator": simulator}, 2) as file:
            first, inputs = file["fields"][:, 0], file["inputs"][:, 0]
        if inputs.shape != first.shape:  # the coarser of the two grids
            first = first.reshape(2, 64, 2, 64, 2, 64, 2).sum((2, 4, 6))
        k, r = correlation_coefficients(first, inputs, (box,) * 3)
        axes[1, 1].semilogx(k, r[0], color=colour, label=label)
        print(label, [f"r({x}) = {np.interp(x, k, r[0]):.3f}" for x in (0.1, 0.3, 0.5, 1.0)])
    k, r = correlation_coefficients(first, inputs[::-1], (box,) * 3)
    axes[1, 1].semilogx(k, r[0], color="#8a9099", lw=0.8, label="two universes")
    axes[1, 1].set(
        xlabel="k [h/Mpc]", ylabel="correlation r(k) of the two fields", ylim=(-0.3, 1.05)
    )
    for axis in axes.flat[1:]:
        axis.legend(frameon=False, fontsize=8)
    save(figure, "fields")


def sky() -> None:
    """Three fields in colour; galaxies put in, and counted back out."""
    with sample("sky", read_simulation("deep-field", preset=True), 60) as file:
        images, n = file["images"][:], file["n_sources"][:]
        catalogue = file["catalogue"][:]
        names = file.attrs["catalogue_columns"].split(", ")
    figure, axes = plt.subplots(1, 4, figsize=(13, 3.6), layout="constrained")
    scale = 10 ** (-0.4 * (np.array([24.862, 25.654, 26.486]) - 25.654)) / 0.004  # equal in f_nu
    for axis, image in zip(axes, images[[4, 11, 23]]):
        light = np.clip(image[:0:-1].transpose(1, 2, 0) * scale, 0, None)
        total = light.mean(2, keepdims=True) + 1e-9
        axis.imshow(
            np.clip(light / total * np.arcsinh(total) / 4, 0, 1),
            origin="lower",
            extent=(0, 12.8, 0, 12.8),
        )
        axis.set(xlabel="arcsec")
    m = names.index("mag_F775W")
    put_in = np.concatenate([rows[:count, m] for rows, count in zip(catalogue, n)])
    edges = np.arange(20, 30.51, 0.5)
    area = 60 * (12.8 / 60) ** 2
    put, _ = np.histogram(put_in, edges)
    middle = (edges[1:] + edges[:-1]) / 2
    found = []
    for image, rows, count in zip(images, catalogue, n):
        places = detect(image[2])
        gaps = np.hypot(*(rows[:count, None, :2] - places).transpose(2, 0, 1))
        found.append(rows[:count, m][gaps.min(1) < 3])
    seen, _ = np.histogram(np.concatenate(found), edges)
    axes[3].errorbar(
        middle,
        put / area / 0.5,
        np.sqrt(put) / area / 0.5,
        fmt="o",
        ms=4,
        color="#0072b2",
        label="put in",
    )
    axes[3].step(middle, seen / area / 0.5, where="mid", color="#d55e00", label="found again")
    axes[3].plot(middle, 14 * 10 ** (0.3 * (middle - 24)), color="#8a9099", lw=1, label="the law")
    axes[3].set(xlabel="AB magnitude, F775W", ylabel="galaxies / mag / arcmin$^2$", yscale="log")
    axes[3].legend(frameon=False, fontsize=8)
    expected = 14 * area * np.diff(10 ** (0.3 * (edges - 24))) / (0.3 * np.log(10))
    print(f"counts: chi2 = {((put - expected) ** 2 / expected).sum():.1f} of {len(put)} bins")
    for low, high in ((24, 27), (27, 28), (28, 29), (29, 30)):
        inside = (middle > low) & (middle < high)
        print(f"  found {seen[inside].sum()} of {put[inside].sum()} with {low} < m < {high}")
    save(figure, "sky")


def detect(image: Any) -> Any:
    """Return (x, y) of groups of pixels that stand out of what is around by five sigma."""
    contrast = ndimage.gaussian_filter(image, 1.2) - ndimage.gaussian_filter(image, 4.0)
    level = 5 * 1.4826 * np.median(np.abs(contrast))
    groups, n = ndimage.label(contrast > level)
    return np.array(ndimage.center_of_mass(contrast, groups, range(1, n + 1)))[:, ::-1]


def save(figure: Any, name: str) -> None:
    """Write a figure, the same bytes for the same samples."""
    FIGURES.mkdir(exist_ok=True)
    figure.savefig(FIGURES / f"simulators_{name}.png", dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    for part in sys.argv[1:] or ("showers", "fields", "sky"):
        globals()[part]()
