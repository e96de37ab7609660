"""Systems side by side under one budget: the same toy world, the same minutes of one core, the same questions."""
