"""The training run: from a recipe to batches, steps, curves and checkpoints, under DeepSpeed."""
