"""Scores of masks; knows nothing of models or data sets."""
