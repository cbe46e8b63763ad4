"""Tasks -> results, by processes of this machine (loky) or the workers of a cluster (Dask), and signals.

Public: `workers.Workers`, `workers.run_tasks`, `cluster` (the only door to Dask), `devices`, `signals`, `processes`.
Nothing here knows what a task computes, or of a store.
"""
