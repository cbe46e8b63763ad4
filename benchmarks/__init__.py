"""What the project costs, measured side by side with other ways to the same: ``python -m benchmarks``."""
