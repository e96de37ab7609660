"""Scripts for ReasonVOS: videos with questions that take reasoning."""
