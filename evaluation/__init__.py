"""Scores, pictures and conversations: a model is asked, its answers are counted and shown."""
