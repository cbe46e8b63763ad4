"""Frames and arrays -> matplotlib axes and figures in one style. Nothing here reads a store or computes a statistic.

Plots take axes and ready numbers: `network` (one network, one run), `compare` (several configs), `evidence`, `search`
(a hyperparameter search). `axes.panels` puts them on a figure, `heatmap` and `examples` make figures of their own,
`style` turns a figure into bytes, and `background` draws many pictures fast.
"""

import os
import sys
from contextlib import suppress

# An MPLBACKEND that names no backend would end the import of matplotlib; nothing here needs one
if "matplotlib" not in sys.modules:
    backend = os.environ.pop("MPLBACKEND", None)
    import matplotlib

    if backend is not None:
        os.environ["MPLBACKEND"] = backend
        with suppress(ValueError):
            matplotlib.rcParams["backend"] = backend
