"""Trained networks -> one row of scores per seed, and the theory of the data to compare them with.

Public: `score.score`, `theory` (Bayes accuracy, floors of the losses), `one_unit` (exact scores of one hidden unit),
`optimum` (the best line of a sample), `predict.answer` (a network's answers without torch), `digest.code_digest`
(which code made a number). Nothing here trains, draws or stores.
"""
