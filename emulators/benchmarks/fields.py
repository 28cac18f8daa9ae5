"""The former place of `emulators.observables.fields`, for scripts that import it from here."""

from emulators.observables.fields import choose_bins, distance, observables, score

__all__ = ["choose_bins", "distance", "observables", "score"]
