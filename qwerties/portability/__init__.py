"""Stores that move: to another folder (`relocate`), or into one file and out of it (`archive`).

Nothing here trains, or reads what a run means.
"""
