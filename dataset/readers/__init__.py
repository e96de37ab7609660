"""How a kind of data set is read, once for all that are alike."""
