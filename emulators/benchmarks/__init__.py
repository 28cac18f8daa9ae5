"""Measure an emulator against its simulation: observables, distances, classifiers, report."""
