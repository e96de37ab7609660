"""Scripts for gRefCOCO and Ref-ZOM: phrases that name one thing, several, or nothing that is there."""
