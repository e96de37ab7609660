"""The small world that these tests look at."""

SEED, IMAGES, FEW = 3, 20, 4
NUMBERS = {"images": IMAGES, "val_images": FEW, "test_images": FEW, "seed": SEED}
