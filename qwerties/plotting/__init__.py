"""Frames and arrays -> matplotlib axes and figures in one style. Nothing here reads a store or computes a statistic.

Plots take axes and ready numbers: `network` (one network, one run), `compare` (several configs), `evidence`, `search`
(a hyperparameter search). `axes.panels` puts them on a figure, `heatmap` and `examples` make figures of their own,
`style` turns a figure into bytes, and `background` draws many pictures fast.
"""

import os

try:
    import matplotlib  # noqa: F401
except ValueError:  # MPLBACKEND names no backend; none is needed here
    del os.environ["MPLBACKEND"]
