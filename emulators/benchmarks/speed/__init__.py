"""How fast an emulator is on this machine, and the simulation beside it."""
