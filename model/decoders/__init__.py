"""Mask decoders: pixels and prompts to masks."""
