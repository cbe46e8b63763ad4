"""Which configs are trained together; loads no torch, so that a sweep can plan its work without it."""

from __future__ import annotations

from collections.abc import Iterable

from qwerties.config import Config

# Networks trained together: their data of 1.6 KB each fit a core's second-level cache
BLOCK = 512

# Losses of a batch, seeds times epochs: they are kept in memory, 4 bytes each
MAX_LOSSES = 2**24


def batches(configs: Iterable[Config], n_seeds: int, max_networks: int = BLOCK) -> list[tuple[Config, ...]]:
    """Group configs into batches that `trainer.train` trains together; each config is in one batch.

    Configs of a batch share `Config.batch_key` and the number of epochs; those that differ in epochs alone count as
    one network per seed, trained to the longest.

    Parameters
    ----------
    configs : iterable of Config
    n_seeds : int
        Seeds that each config is trained on.
    max_networks : int
        Networks of a batch; a batch has at least one config.
    """
    lengths: dict[Config, dict[Config, None]] = {}
    for config in configs:
        lengths.setdefault(config.without_epochs, {})[config] = None
    alike: dict[tuple, list[list[Config]]] = {}
    for members in lengths.values():
        epochs = max(config.epochs for config in members)
        alike.setdefault((next(iter(members)).batch_key, epochs), []).append(list(members))
    grouped = []
    for (_, epochs), families in alike.items():
        size = max(1, min(max_networks, MAX_LOSSES // epochs) // n_seeds)
        for first in range(0, len(families), size):
            grouped.append(tuple(config for family in families[first : first + size] for config in family))
    return grouped
