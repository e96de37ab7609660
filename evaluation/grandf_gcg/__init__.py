"""Scripts for GranD-f val and test: captions whose phrases are masked (GCG)."""
