"""``python -m benchmarks``."""

import sys
from importlib import import_module

if __name__ == "__main__":  # worker processes import this file too
    sys.exit(import_module("benchmarks.command").main())
