"""Several emulators measured alike and compared."""
