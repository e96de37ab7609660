"""What knows nothing of segmentation but its types: settings, flags, processes, files, randomness, names."""
