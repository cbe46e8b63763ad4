"""Tasks -> results, by processes of this machine (loky) or the workers of a cluster (Dask); signals.

Public: `workers.Workers`, `workers.run_tasks`; `cluster` (the only door to Dask), `devices` (CPU or GPU), `signals`
(Ctrl-C between writes), `processes` (dead or alive). Nothing here knows what a task computes, or of a store.
"""
