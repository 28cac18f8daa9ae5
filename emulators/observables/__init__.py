"""Numbers of one sample, distances of two samples of numbers, and their errors and floors."""
