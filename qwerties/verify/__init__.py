"""A store -> what of it does not agree with itself or with the notebook's loop.

Public: `retrain.verify`. Nothing here changes the store.
"""
