"""Seeds and configs -> trained networks, many at once.

Public: `trainer.train`, `networks` (activations, losses, initial weights), `optimizers`, `data` (the clusters),
`reference.train_reference` (the notebook's loop, one network at a time). Nothing here scores, draws or stores.
"""
