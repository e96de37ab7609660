"""Scripts for ReVOS valid: videos with expressions that refer, that take reasoning, and that mean nothing."""
