"""Numbers -> intervals, comparisons and verdicts, with NumPy and SciPy.

Public: `compare.compare`, `intervals.Interval`, `variance.variance_components`, `formats` (numbers as text). Nothing
here knows of networks, plots or stores.
"""
