"""One file a system: what it shows, says and loses, and its recipes."""
