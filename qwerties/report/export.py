"""Downloads: the page's tables as CSV, its contrasts in LaTeX, its figures and all its runs as files beside it.

Beside ``summary.html`` that is ``tables/``, ``figures/`` and ``runs.csv``; beside ``other.html``, ``other-tables/`` and
so on. Each of the two folders has a ``MANIFEST`` of what was written there, as ``sha256sum -c`` reads it: what an
earlier report wrote, and this one does not have, is removed if it is still as it was written, and nothing else ever is.
Names come from numbers and slugs, whatever the store's text says.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import tempfile
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from qwerties.analysis.tables import SeedTable
from qwerties.errors import clean
from qwerties.report.cache_key import bytes_digest
from qwerties.report.elements import Table
from qwerties.report.experiment_figures import score_interval
from qwerties.scoring.states import STATES
from qwerties.stats.intervals import Interval
from qwerties.tracking.records import Tracked
from qwerties.tracking.store import Store

MANIFEST = "MANIFEST"
FOLDERS = ("tables", "figures")
RUNS, FINDINGS = "runs.csv", "tables/findings.tex"

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
FORMULA = tuple("=+-@＝＋－＠\t\r")  # what a spreadsheet takes for the start of a formula
MAX_CELL = 2000  # characters of one cell


@dataclass(frozen=True)
class Places:
    """Where the exports of a page are."""

    folder: Path
    prefix: str

    @classmethod
    def beside(cls, page: Path) -> Places:
        """Beside the page; with the page's own name in front unless it is ``summary.html``."""
        return cls(page.parent, "" if page.stem == "summary" else f"{page.stem}-")

    def path(self, name: str) -> Path:
        """Path of an export by its name, such as ``tables/01-loss.csv``."""
        return self.folder / f"{self.prefix}{name}"

    def link(self, name: str) -> str:
        """Address of an export, from the page."""
        return "./" + urllib.parse.quote(f"{self.prefix}{name}")


def outcome_record(name: str, table: SeedTable) -> dict[str, Any]:
    """Put one config's outcomes into numbers, as the table of its section rounds them."""
    frame, config = table.frame, table.config
    states, phi = frame["state"].to_numpy(), frame["phi"].to_numpy(float)
    undefined = np.isnan(phi)
    ranked = np.sort(np.where(undefined, -np.inf, phi))  # undefined ranks lowest
    middle = float(ranked[[(len(ranked) - 1) // 2, len(ranked) // 2]].mean()) if len(ranked) else math.nan
    return {
        "config": name,
        **config.to_params(),
        "n": len(frame),
        **interval_record("learned", score_interval(frame, "learned", config)),
        **{state: int(np.count_nonzero(states == state)) for state in STATES[1:]},
        **interval_record("population_accuracy", score_interval(frame, "population_accuracy", config)),
        **interval_record("train_accuracy", score_interval(frame, "train_accuracy", config)),
        "phi_median": middle if math.isfinite(middle) else math.nan,
        "phi_undefined": int(undefined.sum()),
        "runs": [run.run_id for run in table.runs],
    }


def interval_record(name: str, interval: Interval | None) -> dict[str, Any]:
    """Put an estimate and its bounds into three columns."""
    values = (interval.estimate, interval.lo, interval.hi) if interval else (math.nan,) * 3
    return dict(zip((name, f"{name}_lo", f"{name}_hi"), values, strict=True))


def runs_csv(store: Store, experiments: Mapping[str, str]) -> bytes:
    """Make ``runs.csv``: every run of these experiments (ids by their names), oldest first."""
    return to_csv([_run(name, run) for name, id_ in experiments.items() for run in store.runs(id_)])


def _run(experiment_name: str, run: Tracked) -> dict[str, Any]:
    return {
        "experiment": experiment_name,
        "run_id": run.run_id,
        "parent": run.parent,
        "name": run.name,
        "status": run.status,
        "seeds": run.params.get("seeds", run.params.get("seed")),
        **{f"params.{name}": value for name, value in sorted(run.params.items())},
        **{f"metrics.{name}": value for name, value in sorted(run.metrics.items())},
    }


# As text


def as_displayed(table: Table) -> list[dict[str, str]]:
    """Return the rows of a table that has no more than its words."""
    return [
        dict(
            zip(
                table.headers,
                [row.name.text, *("; ".join((cell.main, *cell.small)) for cell in row.cells)],
                strict=False,
            )
        )
        for row in table.rows
    ]


def to_csv(records: Sequence[Mapping[str, Any]]) -> bytes:
    """Write records as CSV: numbers in full, what is undefined empty, and no cell that is a formula.

    Columns are those of all records, in the order in which they first occur, params and metrics last.
    """
    frame = pd.DataFrame([dict(_flat(record)) for record in records], dtype=object)
    order = sorted(
        map(str, frame), key=lambda name: (name.startswith("metrics."), name.startswith("params."))
    )
    return frame[order].map(cell).rename(columns=cell).to_csv(index=False, lineterminator="\n").encode()


def _flat(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in record.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}.")
        elif key.endswith("interval") and isinstance(value, list) and len(value) == 2:
            yield f"{name}.lo", value[0]
            yield f"{name}.hi", value[1]
        else:
            yield name, "; ".join(map(str, value)) if isinstance(value, list | tuple) else value


def cell(value: Any) -> Any:
    """Return a number as it is, and text so that no spreadsheet computes it; what is undefined is None."""
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    if value is None or isinstance(value, int | float | np.integer | np.floating):
        return None if value != value else value
    text = " ".join(clean(value, MAX_CELL).split())
    return f"'{text}" if text.startswith(FORMULA) and not NUMBER.fullmatch(text) else text


ASCII = str.maketrans(
    {"−": "-", "–": "--", "·": ",", "δ": "delta", "±": "+/-", "…": "...", "’": "'", "×": "x", '"': "''"}
)


def latex(text: object) -> str:
    """Make text of letters that LaTeX's common fonts have; others become question marks. Styler escapes it."""
    plain = " ".join(clean(text, MAX_CELL).split()).translate(ASCII)
    return "".join(c if c.isascii() or "à" <= c.lower() <= "ÿ" else "?" for c in plain)


def findings_tex(contrasts: Sequence[Mapping[str, Any]]) -> bytes:
    """Write contrasts, as ``verdicts.json`` has them, as a LaTeX table, primary ones first."""
    rows = [_tex_row(contrast) for contrast in sorted(contrasts, key=lambda c: not c["primary"])]
    columns = ["Experiment", "Contrast, A - B", "", "Pairs", "Difference", "Interval", "delta", "Verdict"]
    style = pd.DataFrame(rows, columns=columns, dtype=object).style.hide(axis=0).format(escape="latex")
    text = style.to_latex(hrules=True, column_format="lllrrrrl")
    # a row that begins with [ or * would be taken for an argument of the line break before it
    text = re.sub(r"^(?=[\[*])", "{}", text, flags=re.MULTILINE)
    return f"% needs \\usepackage{{booktabs}}\n{text}".encode()


def _tex_row(contrast: Mapping[str, Any]) -> list[str]:
    where = f" at {contrast['where']}" if contrast["where"] else ""
    lo, hi = contrast.get("interval") or (None, None)
    return [
        latex(contrast["experiment"]),
        latex(f"{contrast['a_minus_b']}{where}"),
        "primary" if contrast["primary"] else "exploratory",
        "" if contrast["n"] is None else str(contrast["n"]),
        _tex_number(contrast.get("estimate")),
        "" if lo is None or hi is None else f"[{_tex_number(lo)}, {_tex_number(hi)}]",
        f"{contrast['delta']:g}",
        latex(contrast["words"]),
    ]


def _tex_number(value: float | None) -> str:
    return "" if value is None else f"{value:+.4f}"


# Beside the page


def write(places: Places, files: Mapping[str, bytes]) -> None:
    """Write the exports of a page, all of them or none, and remove those of an earlier one that it has no more."""
    named = {folder: _in_folder(files, folder) for folder in FOLDERS}
    with ExitStack() as stack:
        ready = []
        for name, content in files.items():
            path = places.path(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            ready.append((stack.enter_context(_prepared(path, content)), path))
        before = {folder: read_manifest(places, folder) for folder in FOLDERS}
        for folder, own in named.items():  # with the earlier ones: what is ours is listed at any moment
            _write_manifest(places, folder, {*before[folder], *own})
        for temporary, path in ready:
            temporary.replace(path)
    for folder, own in named.items():
        kept = {name for _, name in own}
        for digest, name in before[folder]:
            path = places.path(f"{folder}/{name}")
            if name not in kept and bytes_digest(path) == digest:
                path.unlink(missing_ok=True)
        _write_manifest(places, folder, own)


def are_intact(places: Places) -> bool:
    """Tell whether the exports of a page are there as they were written."""
    listed = {folder: read_manifest(places, folder) for folder in FOLDERS}
    return (
        all(
            places.path(f"{folder}/{MANIFEST}").is_file()
            and all(bytes_digest(places.path(f"{folder}/{name}")) == digest for digest, name in own)
            for folder, own in listed.items()
        )
        and places.path(RUNS).is_file()
    )


def read_manifest(places: Places, folder: str) -> set[tuple[str, str]]:
    """Read what an earlier report wrote into a folder: digests and plain file names; whatever else is left out."""
    try:
        text = places.path(f"{folder}/{MANIFEST}").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return set()
    found = (re.fullmatch(r"([0-9a-f]{64})  ([a-z0-9][a-z0-9.-]*)", line) for line in text.splitlines())
    return {(match[1], match[2]) for match in found if match}


def _in_folder(files: Mapping[str, bytes], folder: str) -> set[tuple[str, str]]:
    return {
        (hashlib.sha256(content).hexdigest(), name.removeprefix(f"{folder}/"))
        for name, content in files.items()
        if name.startswith(f"{folder}/")
    }


def _write_manifest(places: Places, folder: str, listed: set[tuple[str, str]]) -> None:
    text = "".join(
        f"{digest}  {name}\n" for digest, name in sorted(listed, key=lambda pair: (pair[1], pair[0]))
    )
    path = places.path(f"{folder}/{MANIFEST}")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, text.encode())


def write_file(path: Path, content: bytes) -> None:
    """Write a file whole, or leave what is there."""
    with _prepared(path, content) as temporary:
        temporary.replace(path)


@contextmanager
def _prepared(path: Path, content: bytes) -> Iterator[Path]:
    """The content in a file beside its place, which is gone afterwards unless it was moved there."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        temporary.chmod(0o644)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
