"""One file for each kind of on-disk layout in which the toy world is written."""
