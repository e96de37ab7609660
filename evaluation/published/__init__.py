"""Published numbers as records, and how they are measured again."""
