"""Data sets: what lies on disk becomes samples, clips and batches."""
