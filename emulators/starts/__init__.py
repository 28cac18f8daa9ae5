"""What is fitted to data before training: where generators start from."""
