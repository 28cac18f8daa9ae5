"""The emulators that ship with the package: ``<name>.pt`` and its card ``<name>.md``."""

from pathlib import Path

__all__ = ["available", "path"]

_FOLDER = Path(__file__).parent


def path(name: str) -> Path:
    """Return the file of a pretrained emulator; KeyError where there is none of this name."""
    if name not in available():
        raise KeyError(name)
    return _FOLDER / f"{name}.pt"


def available() -> dict[str, str]:
    """Return the names of the pretrained emulators, each with the first sentence of its card."""
    return {file.stem: _summary(file.with_suffix(".md")) for file in sorted(_FOLDER.glob("*.pt"))}


def _summary(card: Path) -> str:
    if not card.is_file():
        return ""
    paragraphs = card.read_text(encoding="utf-8").split("\n\n")
    prose = (p.strip() for p in paragraphs if not p.lstrip().startswith(("#", "|", "```", "---")))
    sentence, stop, _ = " ".join(next(prose, "").split()).partition(". ")
    return sentence + stop.strip()
