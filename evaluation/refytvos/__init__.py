"""Scripts for Ref-YouTube-VOS valid, the 202 videos that a server scores."""
