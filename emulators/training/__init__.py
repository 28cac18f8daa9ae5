"""Training: the recipe, the game, the loop around it, and what watches it."""
