"""The small world that these tests look at."""

SEED, IMAGES, FEW = 3, 20, 4
