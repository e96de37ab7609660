"""MeViS valid_u by GLUS' name for it: `python utils/eval_mevis.py --help`; see evaluation/as_glus.py."""

import os
import sys

if __name__ == "__main__":
    # In place of this folder, whose types.py is not Python's.
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    from seglm.evaluation.as_glus import main

    main("mevis")
