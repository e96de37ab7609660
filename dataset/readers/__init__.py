"""How a kind of data set is read, once."""
