"""Scripts for Ref-DAVIS17 valid: four expressions of each object of DAVIS-2017."""
