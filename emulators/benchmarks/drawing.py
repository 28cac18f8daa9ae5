"""What the figures of all reports share: inks, type, panels, and how they become part of a page.

Colours are Okabe and Ito's, told apart by every kind of eye and by lightness in print.  The
reference is always the grey fill, the emulator always the blue line.
"""

import base64
import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "BAND",
    "BLUE",
    "COLOURS",
    "GREY",
    "INK",
    "MARKERS",
    "STYLE",
    "band",
    "decades",
    "figure_of",
    "outliers",
    "png",
    "shown",
    "svg",
    "symbol",
]

INK, GREY, BLUE, BAND = "#1b1f24", "#b4b9c0", "#0072b2", "#8a9099"
# blue becomes Okabe and Ito's sky blue, and what was that their yellow
_NIGHT = {
    INK: "#dfe3e8",
    GREY: "#5b626b",
    BLUE: "#56b4e9",
    BAND: "#7d858f",
    "#56b4e9": "#f0e442",
}
STYLE: Any = {
    "font.size": 10.0,
    "axes.labelsize": 10.0,
    "axes.titlesize": 10.0,
    "legend.fontsize": 9.0,
    "xtick.labelsize": 9.0,
    "ytick.labelsize": 9.0,
    "axes.facecolor": "none",  # the page shows through, light or dark
    "axes.linewidth": 0.8,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.top": True,
    "ytick.right": True,
    "legend.frameon": False,
    "mathtext.fontset": "dejavusans",
    "svg.hashsalt": "emulators",
}
COLOURS = (BLUE, "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito's
MARKERS = "osD^vP"
MOST = 12  # panels of one kind: of more layers, evenly spaced ones are drawn


def shown(items: Sequence[Any], most: int = MOST) -> list[Any]:
    """Return at most so many items, evenly spaced, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[i] for i in np.linspace(0, len(items) - 1, most).round().astype(int)]


def figure_of(width: float, height: float, layout: Any = "constrained") -> "Figure":
    """Return an empty figure, sizes in inches, that the page shows through."""
    from matplotlib.figure import Figure

    figure = Figure((width, height), layout=layout)
    figure.set_facecolor("none")
    return figure


def band(
    axes: "Axes", edges: npt.NDArray[Any], low: Any, high: Any, label: str | None = None
) -> None:
    """Draw a grey band between two values a bin."""
    axes.fill_between(
        edges,
        np.append(low, low[-1]),
        np.append(high, high[-1]),
        step="post",
        color=BAND,
        alpha=0.5,
        lw=0,
        label=label,
    )


def outliers(axes: "Axes", x: Any, y: npt.NDArray[Any], limits: tuple[float, float]) -> None:
    """Mark values outside the limits by triangles on the border: none may vanish unseen."""
    reach = limits[1] - limits[0]
    for outside, place, marker in (
        (y > limits[1], limits[1] - 0.06 * reach, "^"),
        (y < limits[0], limits[0] + 0.06 * reach, "v"),
    ):
        axes.plot(np.asarray(x)[outside], np.full(outside.sum(), place), marker, ms=4, color=BLUE)


def decades(axis: Any) -> None:
    """Label decades as plain numbers; where few are shown, also 2 and 5 of each."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    wide = np.log10(high / low) if low > 0 else 9
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if wide < 2 else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axis.set_minor_formatter(NullFormatter())


SYMBOLS = {"omega_m": r"$\Omega_m$", "sigma_8": r"$\sigma_8$", "redshift": "z", "_": " "}


def symbol(words: str) -> str:
    """Return words with conditions as they are written on plots; what is mathtext stays so."""
    if "$" in words:
        return words
    return re.sub(r"\b(omega_m|sigma_8|redshift)\b|_", lambda match: SYMBOLS[match[0]], words)


def svg(figure: "Figure") -> str:
    """Return a figure as an SVG data URI that follows the page into the dark."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    # an embedded image sees whether its page is read in the dark, and may choose its own inks
    rules = "".join(
        f'[style*="{kind}: {day}"]{{{kind}:{night} !important}}'
        for day, night in _NIGHT.items()
        for kind in ("fill", "stroke")
    )
    style = f"<style>@media screen and (prefers-color-scheme:dark){{{rules}}}</style>"
    text = text.replace("<defs>", f"{style}<defs>", 1)
    return "data:image/svg+xml;base64," + base64.b64encode(text.encode()).decode()


def png(figure: "Figure") -> str:
    """Return a figure as a PNG data URI."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
