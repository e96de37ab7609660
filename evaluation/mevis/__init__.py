"""Scripts for MeViS valid, which a server scores."""
