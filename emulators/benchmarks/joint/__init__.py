"""What distances of one observable at a time cannot see: how observables hang together."""
