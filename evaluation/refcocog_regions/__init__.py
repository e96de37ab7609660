"""Scripts for RefCOCOg val as captions of regions that are pointed at."""
