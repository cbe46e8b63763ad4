"""Take-away: the page's tables as CSV, its findings in LaTeX, its figures and all its runs as files beside it.

Beside ``summary.html`` that is ``tables/``, ``figures/`` and ``runs.csv``; beside ``other.html``, ``other-tables/`` and
so on. Each of the two folders has a ``MANIFEST`` of what was written there, as ``sha256sum -c`` reads it: what an
earlier report wrote, and this one does not have, is removed if it is still as it was written, and nothing else ever is.
Names come from numbers and slugs, whatever the store's text says.
"""

from __future__ import annotations

import csv
import dataclasses
import functools
import hashlib
import io
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

from qwerties.errors import clean
from qwerties.report.cache_key import bytes_digest
from qwerties.report.drawing import PNG, SVG
from qwerties.report.elements import ContrastTable, Shown, Studies, Table
from qwerties.report.figures import score_interval
from qwerties.report.text import slug
from qwerties.stats.intervals import Interval
from qwerties.study.coverage import STATES, SeedTable
from qwerties.tracking.records import Tracked
from qwerties.tracking.store import Store

MANIFEST = "MANIFEST"
FOLDERS = ("tables", "figures")
RUNS, FINDINGS = "runs.csv", "tables/findings.tex"

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
FORMULA = tuple("=+-@＝＋－＠\t\r")
"""What a spreadsheet takes for the start of a formula."""

LONGEST = 2000
"""Characters of one cell."""

PARTS = {"top_picture": "findings", "provenance_part": "design-coverage"}
"""Parts of a page that have no anchor of their own, by what the template calls them."""

SUFFIXES = {SVG: "svg", PNG: "png"}


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


# What there is on a page


def collect(context: Mapping[str, Any]) -> Iterator[tuple[str, Shown | Table | ContrastTable]]:
    """Find every figure and table in what the template is given, with the name of the part that it stands in."""
    for key, value in context.items():
        yield from _found(value, PARTS.get(key, key))


def _found(value: Any, name: str) -> Iterator[tuple[str, Shown | Table | ContrastTable]]:
    if isinstance(value, Shown | Table | ContrastTable):
        yield name, value
    if isinstance(value, list | tuple):
        for one in value:
            yield from _found(one, name)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        inside = name if name in PARTS.values() else getattr(value, "anchor", name)
        inside = f"{name}-studies" if isinstance(value, Studies) else inside
        for field in dataclasses.fields(value):
            yield from _found(getattr(value, field.name), inside)


def make_files(context: Mapping[str, Any]) -> tuple[dict[str, bytes], dict[tuple[str, int], str]]:
    """Make the files of a page's figures and tables.

    Returns
    -------
    dict of str to bytes
        By their names, such as ``figures/01-findings.svg``.
    dict
        The name of each by its kind, ``figure`` or ``table``, and its number on the page.
    """
    files: dict[str, bytes] = {}
    names: dict[tuple[str, int], str] = {}
    for part, one in collect(context):
        stem = f"{one.number:02d}-{slug(part, set())}"
        if isinstance(one, Shown):
            content = one.drawing.content
            name = f"figures/{stem}.{SUFFIXES[one.drawing.mime]}"
            names["figure", one.number] = name
        else:
            contrasts = isinstance(one, ContrastTable)
            content = to_csv(one.data or _as_displayed(one))
            name = f"tables/{stem}{'-contrasts' if contrasts else ''}.csv"
            names["table", one.number] = name
        files[name] = content
    return files, names


def _as_displayed(table: Table | ContrastTable) -> list[dict[str, Any]]:
    """Rows of a table that has no more than its words."""
    rows = []
    for row in table.rows:
        name = row.name.text if hasattr(row, "name") else f"{row.sides}: {row.verdict}"
        cells = ["; ".join((cell.main, *cell.small)) for cell in row.cells]
        given = [name, *cells][-len(table.headers) :]
        rows.append(dict(zip(table.headers, given, strict=False)))
    return rows


def outcome_record(name: str, one: SeedTable) -> dict[str, Any]:
    """Put one config's outcomes into numbers, as the table of its section rounds them."""
    frame, config = one.frame, one.config
    states, phi = frame["state"].to_numpy(), frame["phi"].to_numpy(float)
    undefined = np.isnan(phi)
    ranked = np.sort(np.where(undefined, -np.inf, phi))  # undefined ranks lowest
    middle = float(ranked[[(len(ranked) - 1) // 2, len(ranked) // 2]].mean()) if len(ranked) else math.nan
    return {
        "config": name,
        **one.config.to_params(),
        "n": len(frame),
        **interval_record("learned", score_interval(frame, "learned", config)),
        **{state: int(np.count_nonzero(states == state)) for state in STATES[1:]},
        **interval_record("population_accuracy", score_interval(frame, "population_accuracy", config)),
        **interval_record("train_accuracy", score_interval(frame, "train_accuracy", config)),
        "phi_median": middle if math.isfinite(middle) else math.nan,
        "phi_undefined": int(undefined.sum()),
        "runs": [run.run_id for run in one.runs],
    }


def interval_record(name: str, found: Interval | None) -> dict[str, Any]:
    """Put an estimate and its bounds into three columns."""
    values = (found.estimate, found.lo, found.hi) if found else (math.nan,) * 3
    return dict(zip((name, f"{name}_lo", f"{name}_hi"), values, strict=True))


def runs_csv(store: Store, stems: Mapping[str, str]) -> bytes:
    """Make ``runs.csv``: every run of these experiments (ids by their stems), oldest first."""
    return to_csv([_run(stem, run) for stem, found in stems.items() for run in store.runs(found)])


def _run(stem: str, run: Tracked) -> dict[str, Any]:
    return {
        "experiment": stem,
        "run_id": run.run_id,
        "parent": run.parent,
        "name": run.name,
        "status": run.status,
        "seeds": run.params.get("seeds", run.params.get("seed")),
        **{f"params.{name}": value for name, value in sorted(run.params.items())},
        **{f"metrics.{name}": value for name, value in sorted(run.metrics.items())},
    }


# As text


def to_csv(records: Sequence[Mapping[str, Any]]) -> bytes:
    """Write records as CSV: numbers in full, what is undefined empty, and no cell that is a formula.

    Columns are those of all records, in the order in which they first occur, params and metrics last.
    """
    flat = [dict(_flat(record)) for record in records]
    columns = list(dict.fromkeys(key for record in flat for key in record))
    columns.sort(key=lambda column: (column.startswith("metrics."), column.startswith("params.")))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([cell(column) for column in columns])
    writer.writerows([cell(record.get(column)) for column in columns] for record in flat)
    return out.getvalue().encode()


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


def cell(value: Any) -> str:
    """Write one cell: a number so that it reads back as the same, text so that no spreadsheet computes it."""
    if value is None:
        return ""
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    if isinstance(value, int | float | np.integer | np.floating):
        return "" if value != value else repr(value.item() if isinstance(value, np.generic) else value)
    return _text_cell(str(value))


@functools.lru_cache(4096)  # most texts of a table stand in many of its rows
def _text_cell(value: str) -> str:
    text = " ".join(clean(value, LONGEST).split())
    return f"'{text}" if text.startswith(FORMULA) and not NUMBER.fullmatch(text) else text


LATEX = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: f"{{{sign}}}" for sign in "[]*"},  # the first two and the last mean something after \\
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "−": "$-$",
    "·": r"$\cdot$",
    "δ": r"$\delta$",
    "±": r"$\pm$",
    "–": "--",
    "…": r"\ldots{}",
    "’": "'",
    "×": r"$\times$",
}


def latex(text: object) -> str:
    """Escape text for LaTeX; letters that its common fonts do not have become question marks."""
    kept = " ".join(clean(text, LONGEST).split())
    return "".join(
        LATEX.get(sign) or (sign if sign.isascii() or "à" <= sign.lower() <= "ÿ" else "?") for sign in kept
    )


def findings_tex(contrasts: Sequence[Mapping[str, Any]]) -> bytes:
    """Write contrasts, as ``verdicts.json`` has them, as a LaTeX table, primary ones first."""
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{tabular}{llrrrrl}",
        "\\toprule",
        "Experiment & Contrast, A $-$ B & Pairs & Difference & Interval & $\\delta$ & Verdict \\\\",
    ]
    for primary in (True, False):
        chosen = [contrast for contrast in contrasts if contrast["primary"] is primary]
        if chosen:
            lines += ["\\midrule", f"% {'primary' if primary else 'exploratory'}", *map(_tex_row, chosen)]
    return ("\n".join([*lines, "\\bottomrule", "\\end{tabular}"]) + "\n").encode()


def _tex_row(contrast: Mapping[str, Any]) -> str:
    where = f" at {contrast['where']}" if contrast["where"] else ""
    lo, hi = contrast.get("interval") or (None, None)
    cells = [
        latex(contrast["experiment"]),
        latex(f"{contrast['a_minus_b']}{where}"),
        "" if contrast["n"] is None else str(contrast["n"]),
        _tex_number(contrast.get("estimate")),
        "" if lo is None or hi is None else f"{{[}}{_tex_number(lo)}, {_tex_number(hi)}{{]}}",
        f"{contrast['delta']:g}",
        latex(contrast["words"]),
    ]
    return " & ".join(cells) + " \\\\"


def _tex_number(value: float | None) -> str:
    return "" if value is None else f"${value:+.4f}$"


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
