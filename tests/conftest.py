"""Set-up of the whole session: compiled steps are kept in the repository's cache, as a sweep keeps them."""

import os
from pathlib import Path

os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(Path(__file__).parents[1] / ".cache" / "inductor"))
