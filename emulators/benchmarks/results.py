"""What a report holds: figures of merit by name and all behind them; its files."""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from emulators.benchmarks.chapter import results_of
from emulators.benchmarks.draw import draw
from emulators.benchmarks.drawing import shown
from emulators.benchmarks.measured import Measured, Number
from emulators.benchmarks.records import upgraded
from emulators.benchmarks.write import DRAWN, figures_of, html, markdown, summary
from emulators.errors import InputError

__all__ = ["FORMAT", "Report", "refuse_foreign"]

FORMAT = "emulators benchmark"
FILES = ("report.json", "report.md", "report.html")


class Report(Mapping[str, Number]):
    """What was measured: the figures of merit by ``chapter/name``, and everything behind them.

    It draws itself in a notebook.

    Parameters
    ----------
    record
        As in ``report.json``, of this version or an earlier one.

    Attributes
    ----------
    record
        Plain values, of this version.
    results
        What each chapter measured: numbers, curves, histograms, matrices and pictures.

    Examples
    --------
    >>> from emulators.benchmarks.report import Report
    >>> report = Report.read("benchmarks/results/photon-showers")  # doctest: +SKIP
    >>> report["classifiers/high"].value  # doctest: +SKIP
    0.605
    """

    def __init__(self, record: Mapping[str, Any]) -> None:
        self.record = upgraded(record)
        self.results = tuple(results_of(self.record))
        self._numbers = {k: n for r in self.results for k, n in r.numbers.items()}

    @classmethod
    def read(cls, path: str | Path) -> "Report":
        """Read a report from its folder or its ``report.json``; InputError where there is none."""
        path = Path(path)
        file = path / "report.json" if path.is_dir() else path
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
            if record["format"] == FORMAT:
                return cls(record)
        except OSError as error:
            raise InputError(f"{file}: {error.strerror}") from None
        except (ValueError, KeyError, TypeError):
            pass
        raise InputError(f"{file}: not the record of a benchmark")

    def __getitem__(self, name: str) -> Number:
        return self._numbers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def measured(self) -> dict[str, Measured]:
        """Everything that was measured, by ``chapter/name``."""
        return {f"{r.name}/{m.name}": m for r in self.results for m in r.measured}

    @property
    def verdict(self) -> list[dict[str, str]]:
        """A line for each figure that is judged: ``status``, ``what``, ``text``; worst first."""
        return list(self.record["verdict"])

    @property
    def passed(self) -> bool:
        """Whether no limit is missed."""
        return all(line["status"] != "poor" for line in self.verdict)

    def markdown(self) -> str:
        """Return the report as Markdown."""
        return markdown(self.record)

    def html(self) -> str:
        """Return the report as one HTML page that needs no other file and no network."""
        return html(self.record)

    def _repr_html_(self) -> str:
        """Return the page in a frame of its own, for a notebook."""
        page = self.html().replace("&", "&amp;").replace('"', "&quot;")
        return f'<iframe srcdoc="{page}" style="width:100%;height:40rem;border:0"></iframe>'

    def __repr__(self) -> str:
        return f"Report({len(self)} figures of {self.record['kind']}s: {summary(self.record)})"

    def save(self, folder: str | Path, figures: str | None = None) -> None:
        """Write ``report.json``, ``report.md`` and ``report.html``, whole or not at all.

        Parameters
        ----------
        folder
            It is made; an earlier report there is replaced, anything else refused.
        figures
            ``pdf``, ``png`` or ``svg``: write each figure into ``figures/`` too.
        """
        output = Path(folder)
        refuse_foreign(output)
        part = output.absolute().with_name(output.absolute().name + ".part")
        try:
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            texts = (json.dumps(self.record, indent=1) + "\n", self.markdown(), self.html())
            for name, text in zip(FILES, texts):
                (part / name).write_text(text, encoding="utf-8")
            if figures is not None:
                self._save_figures(part / "figures", figures)
            output.mkdir(exist_ok=True)
            shutil.rmtree(output / "figures", ignore_errors=True)
            for file in sorted(part.iterdir()):
                file.replace(output / file.name)
        except OSError as error:
            raise InputError(f"{output}: cannot be written: {error.strerror}") from None
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def _save_figures(self, folder: Path, ending: str) -> None:
        folder.mkdir()
        for result in self.results:
            for name, things in figures_of(result):
                draw(shown(things, DRAWN)).savefig(folder / f"{name}.{ending}", dpi=200)


def refuse_foreign(output: Path) -> None:
    """Raise InputError where a folder holds anything but a report of ours."""
    if not output.exists():
        return
    if not output.is_dir():
        raise InputError(f"{output}: a file; the report needs a folder")
    foreign = sorted({p.name for p in output.iterdir()} - {*FILES, "figures"})
    if foreign:
        raise InputError(
            f"{output}: holds '{foreign[0]}', which is no report of ours; give an empty folder"
        )
    try:
        ours = json.loads((output / "report.json").read_text())["format"] == FORMAT
    except (OSError, ValueError, KeyError, TypeError):
        ours = not any(output.iterdir())
    if not ours:
        raise InputError(f"{output}: not empty, and its report is not ours; give an empty folder")
