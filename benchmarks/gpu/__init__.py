"""Everything that only a GPU can say, in one command of a few minutes: `python -m benchmarks.gpu` (see `__main__.py`)."""
