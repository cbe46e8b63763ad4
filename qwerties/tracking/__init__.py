"""Records -> MLflow runs, and back: the only door to MLflow.

Public: `store.Store`, `records` (what is written and read), `tags` (names of tags), `uri` (where a store is),
`models` (the registry). Nothing here trains, draws or decides what is missing.
"""
