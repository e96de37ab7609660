"""What the servers of video benchmarks take: made of predictions, and checked."""
