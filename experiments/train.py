"""`python experiments/train.py` is `augrad train`."""

import sys

from augrad.cli.train import main

if __name__ == "__main__":
    sys.exit(main())
