"""Masks on pictures: overlays, sheets, and the text on them."""
