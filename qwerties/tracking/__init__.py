"""Records -> MLflow runs, and back: the only door to MLflow.

Public: `store.Store`; `records` (what is written and read), `tags` (their names), `uri` (where a store is), `arrays`
(arrays of a file that anybody may have written), `models` (the registry), `server` (MLflow's UI). Nothing here trains,
draws or decides what is missing.
"""
