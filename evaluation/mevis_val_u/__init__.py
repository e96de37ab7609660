"""Scripts for the public part of MeViS' validation, valid_u, whose masks are published."""
