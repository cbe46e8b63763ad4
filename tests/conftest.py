"""Set-up of the whole session, for the compiler: its cache, and a warning of its own."""

import os
from pathlib import Path

os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(Path(__file__).parents[1] / ".cache" / "inductor"))


def pytest_configure(config):
    # torch 2.13 warns of its own code on the first compilation; as an error, that would make training fall back to
    # the eager step, and nobody would notice
    config.addinivalue_line(
        "filterwarnings", "ignore:.torch.jit.script_method. is deprecated:DeprecationWarning"
    )
