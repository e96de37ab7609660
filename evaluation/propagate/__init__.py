"""Masks of a few frames carried through a whole video: those that a model drew, or those that a person has."""
