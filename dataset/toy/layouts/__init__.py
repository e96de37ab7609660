"""How each real data set lies on disk."""
