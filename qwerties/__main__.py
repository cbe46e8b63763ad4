"""``python -m qwerties``."""

import sys

from qwerties.cli.main import main

sys.exit(main())
