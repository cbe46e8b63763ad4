"""Numbers -> intervals, comparisons and verdicts, with NumPy and SciPy.

Public: `confidence.confidence_sequence`, `compare.compare`, `verdict.decide`,
`planning.units_needed`, `variance.variance_components`, `formats` (numbers as text). Nothing here knows of networks,
plots or stores.
"""
