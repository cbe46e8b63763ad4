"""Set-up of the whole session: one thread, as a sweep's workers have; and the compiler's cache and warnings."""

import os
from pathlib import Path

# two threads that wait for one another are slow on a busy machine
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("QWERTIES_KERNELS", str(Path(__file__).parents[1] / ".cache" / "kernels"))
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(Path(__file__).parents[1] / ".cache" / "inductor"))


def pytest_configure(config):
    # torch 2.13 warns of its own code on the first compilation; as an error, that would make training fall back to
    # the eager step, and nobody would notice
    config.addinivalue_line(
        "filterwarnings", "ignore:.torch.jit.script_method. is deprecated:DeprecationWarning"
    )
