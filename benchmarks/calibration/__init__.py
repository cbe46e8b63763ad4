"""Error rate and price of the verdicts' intervals, beside Student's t: ``python -m benchmarks.calibration``."""
