"""The model: how states become slots, slots prompts, and prompts masks; recipes, and how weights are read, kept and merged."""
