"""What answers are worth: a line for each expression, averages, and the report."""
