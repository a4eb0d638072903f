"""`python -m augrad.cli` is `augrad`."""

import sys

from augrad.cli import main

if __name__ == "__main__":
    sys.exit(main())
