"""Reference simulations that run from here: the samples that emulators learn from."""
