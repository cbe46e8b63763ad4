"""``python -m benchmarks.calibration``."""

import sys

from benchmarks.calibration.command import main

if __name__ == "__main__":  # worker processes import this file too
    sys.exit(main())
