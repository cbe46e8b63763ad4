"""A store -> what of it does not agree with itself or with the notebook's loop. Nothing here changes the store.

`audit` checks every run without training; `retrain.verify` does that and trains sampled networks again.
"""
