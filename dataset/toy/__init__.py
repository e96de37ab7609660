"""The toy world: draws small true data sets in the real layouts."""
