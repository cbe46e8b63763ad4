"""Whether the verdicts keep their promises, measured on trained networks: ``python -m benchmarks.calibration``."""
