"""`python experiments/compare.py` is `augrad compare`."""

import sys

from augrad.cli.compare import main

if __name__ == "__main__":
    sys.exit(main())
