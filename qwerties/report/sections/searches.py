"""Hyperparameter searches."""
TITLE, ANCHOR = "Hyperparameter searches", "searches"
def build(results): return None
