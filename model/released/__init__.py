"""Published checkpoints: their layouts, key maps and checks."""
