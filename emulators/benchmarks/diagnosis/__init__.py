"""What is wrong with generated showers, by name: the faults that generators have."""
