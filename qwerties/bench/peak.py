"""Run a ``qwerties`` command and tell the peaks of memory: ``python -m qwerties.bench.peak sweep ...``.

The last line printed is JSON, in MiB: ``own``, of this process, and ``largest_child``, of the largest of its children.
"""

import json
import resource
import sys

from qwerties.cli import main


def _mib(who: int) -> float:
    kibibytes = resource.getrusage(who).ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return kibibytes / 1024


def _run() -> int:
    status = main(sys.argv[1:])
    from joblib.externals.loky import get_reusable_executor

    get_reusable_executor(reuse=True).shutdown(wait=True)  # children count once they have ended
    own, child = _mib(resource.RUSAGE_SELF), _mib(resource.RUSAGE_CHILDREN)
    print(json.dumps({"own": own, "largest_child": child}))
    return status


if __name__ == "__main__":
    sys.exit(_run())
