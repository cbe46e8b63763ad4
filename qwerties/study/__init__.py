"""Experiment files -> a plan -> what is missing -> trained, scored and tracked runs.

Public: `experiment.Experiment`, `experiment.Contrast`, `experiment.Figure`, `experiment.grid`, `sweep.sweep`,
`coverage` (planned, done, missing), `single.train_network`. Nothing here compares configs or writes a page.
"""
