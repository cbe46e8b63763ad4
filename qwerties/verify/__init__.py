"""A store -> what of it does not agree with itself or with the notebook's loop. Nothing here changes the store.

`retrain.verify` does both: `block` reads what a run holds, `audit` compares what it says more than once, and `network`
trains a sampled network again.
"""
