"""What a sweep would train, as a table: ``qwerties sweep --dry-run``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from qwerties.config import Config
from qwerties.errors import plural
from qwerties.study.experiment import Experiment
from qwerties.study.forecast import BYTES_PER_LOSS, Forecast, Work, forecast
from qwerties.tracking.records import curve_epochs

if TYPE_CHECKING:
    from qwerties.tracking.store import Store
    from qwerties.tuning.declaration import Tuning


def forecast_table(
    declared: Mapping[str, Experiment | Tuning],
    store: Store | None,
    n_seeds: int,
    settle: str,
    max_seeds: int,
    workers: int,
) -> str:
    """Return what a sweep with these options would train, as a table; ``store`` is None where there is none yet."""
    experiments: dict[str, Experiment] = {}
    searches: dict[str, Work] = {}
    for name, experiment in declared.items():
        if isinstance(experiment, Experiment):
            experiments[name] = experiment
        else:
            experiments[name], searches[name] = _tuned(name, experiment, store, n_seeds)
    decided = _decided(store) if store else set()
    n_open, more = 0, {}
    for name, experiment in experiments.items():
        arms = [
            (contrast.a, contrast.b)
            for contrast in experiment.contrasts
            if (settle == "all" or (settle == "primary" and contrast.primary))
            and (name, contrast.a, contrast.b) not in decided
        ]
        n_open += len(arms)
        more[name] = dict.fromkeys([arm for pair in arms for arm in pair], max_seeds)
    return _table(forecast(experiments, store, n_seeds, more, searches, workers), n_open, max_seeds, workers)


def _decided(store: Store) -> set[tuple[str, Config, Config]]:
    """Return the contrasts whose verdict more seeds cannot change."""
    from qwerties.analysis.contrasts import load_results

    return {
        (finding.experiment_name, finding.contrast.a, finding.contrast.b)
        for result in load_results(store)
        for finding in result.findings
        if finding.decided
    }


def _tuned(name: str, tuning: Tuning, store: Store | None, n_seeds: int) -> tuple[Experiment, Work]:
    """Return a tuning's comparison on fresh seeds, and what its searches still train.

    Where a search is not finished, one of its longest examples stands in for the config that it will choose.
    """
    from qwerties.analysis.searches import read_search
    from qwerties.tuning.search import make_searches

    experiment_id = store.experiments().get(name, ("", {}))[0] if store else ""
    runs = store.runs(experiment_id) if store and experiment_id else []
    total, arms = Work(), {}
    for i, search in enumerate(make_searches(name, tuning, n_seeds)):
        tracked = read_search(search.spec(), runs)
        longest = sorted(search.examples, key=lambda config: config.epochs, reverse=True)
        example = longest[i % len(longest)]
        arms[search.confirmed_as] = tracked.winner or example
        if tracked.winner is None:
            left = tuning.trials - len(tracked.trials)
            size = left * len(curve_epochs(example.epochs)) * BYTES_PER_LOSS
            total += Work(left, left, left * len(search.seeds), trials=left, size=size)
    return tuning.experiment(arms), total


def _table(result: Forecast, n_open: int, max_seeds: int, workers: int) -> str:
    """Lay a forecast out in plain text."""
    rows: list[Sequence[str]] = [("experiment", "configs", "runs", "networks", "about", "disk")]
    rows += [(name, *_cells(work, result)) for name, work in {**result.work, "in all": result.total}.items()]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows
    ]
    if n_open and result.topup.networks:
        *_, networks, about, disk = _cells(result.topup, result)
        lines.append(
            f"while contrasts are open ({n_open}), up to {max_seeds:,} seeds of their configs: at most {networks} more "
            f"networks, about {about}, {disk}"
        )
    lines.append(
        f"rates {result.source}: {result.rate / 1e6:.1f} million epochs of the smallest network per second, with "
        f"{plural(workers, 'worker')}; dry run: nothing was written"
    )
    return "\n".join(lines)


def _cells(work: Work, result: Forecast) -> tuple[str, ...]:
    seconds = result.seconds(work)
    about = f"{seconds:,.0f} s" if seconds < 600 else f"{seconds / 60:,.0f} min"
    return (f"{work.configs:,}", f"{work.runs:,}", f"{work.networks:,}", about, f"{work.size / 1e6:,.0f} MB")
