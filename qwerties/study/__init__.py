"""Experiment files -> a plan -> what is missing -> trained, scored and tracked runs.

Public: `experiment` (what a file declares), `plan` (a plan in the store), `coverage` (done, missing, damaged),
`sweep.sweep`, `single.train_network`. Nothing here compares configs or writes a page.
"""
