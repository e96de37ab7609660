"""Benchmarks of videos by Sa2VA's and DeSa2VA's name for it, `--help` says its flags; see evaluation/as_sa2va.py."""

import os
import sys

if __name__ == "__main__":
    sys.path[0] = os.path.abspath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 3))
    from seglm.evaluation.as_sa2va import main

    main()
