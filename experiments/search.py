"""`python experiments/search.py` is `augrad search`."""

import sys

from augrad.cli.search import main

if __name__ == "__main__":
    sys.exit(main())
