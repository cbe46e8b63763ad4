"""The page's first lines: what was trained."""

from __future__ import annotations

from markupsafe import Markup

from qwerties.config import Config
from qwerties.errors import command, plural
from qwerties.report.results import Results
from qwerties.tracking.records import Tracked

EMPTY = (
    "Run <code>{sweep}</code> to train the networks of every question in <code>experiments/</code>; this page then "
    "shows what came of it. <code>{ui}</code> opens the runs themselves."
)
INTRODUCTION = (
    "A seed fixes the data, clusters of points drawn at random, and the network’s initial weights. Configs are "
    "compared on the same seeds, pair by pair, as one lucky start proves nothing."
)


def head(results: Results) -> tuple[str, str]:
    """Count what was trained, and introduce the page; a network that two experiments share counts once."""
    networks: dict[Config, set[tuple[int, int]]] = {}
    runs: list[Tracked] = []
    n_experiments = 0
    for result in results.experiments:
        n_experiments += bool(result.networks or result.coverage.loose)
        runs += result.coverage.loose
        for table in result.networks.values():
            frame = table.frame
            pair = ("data_seed", "weight_seed") if "weight_seed" in frame else ("seed", "seed")
            drawn = zip(*(frame[column].tolist() for column in pair), strict=True)
            networks.setdefault(table.config, set()).update(drawn)
            runs += table.runs
    if not runs:
        return "Nothing is tracked yet.", Markup(EMPTY.format(sweep=command("sweep"), ui=command("ui")))
    seeds = {seed for pairs in networks.values() for pair in pairs for seed in pair}
    lead = (
        f"{plural(sum(map(len, networks.values())), 'small network')} of {plural(len(networks), 'config')} on "
        f"{plural(len(seeds), 'seed')}, tracked as {plural(len(runs), 'run')} in "
        f"{plural(n_experiments, 'experiment')}."
    )
    return lead, INTRODUCTION
