"""``python -m qwerties``."""

import sys

from qwerties.cli import main

sys.exit(main())
