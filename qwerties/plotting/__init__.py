"""Frames and arrays -> matplotlib axes in one style.

Public: `style`, `axes` (ticks and labels), `network` (one network), `compare` (several configs), `search` (a tuned
study), `heatmap` (a map), `examples` (decision boundaries). Nothing here reads a store or computes a statistic.
"""
