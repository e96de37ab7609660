"""Scripts for RefCOCO, RefCOCO+, RefCOCOg and refCLEF: phrases that name one thing in a picture."""
