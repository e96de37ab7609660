"""The formulas, with nothing around them."""
