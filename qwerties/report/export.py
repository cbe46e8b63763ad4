"""Downloads: the page's tables as CSV, its contrasts in LaTeX, its figures and all its runs as files beside it.

Beside ``summary.html`` that is ``tables/``, ``figures/`` and ``runs.csv``; beside ``other.html``, ``other-tables/`` and
so on. ``verdicts.json`` lists them with their digests: what an earlier report wrote, and this one does not have, is
removed if it is still as it was written, and nothing else ever is. Names come from numbers and slugs, whatever the
store's text says.
"""

from __future__ import annotations

import hashlib
import os
import re
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from qwerties.errors import FailedError, clean
from qwerties.report.verdicts_file import sides_of
from qwerties.study.coverage import Coverage
from qwerties.tracking.records import Tracked
from qwerties.tracking.store import Store

PAGE, VERDICTS, RUNS, FINDINGS = "summary.html", "verdicts.json", "runs.csv", "tables/findings.tex"
OURS = re.compile(r"summary\.html|runs\.csv|(tables|figures)/[a-z0-9][a-z0-9.-]*")  # names of files

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
FORMULA = tuple("=+-@＝＋－＠\t\r")  # what a spreadsheet takes for the start of a formula
MAX_CELL = 2000  # characters of one cell


def place(page: Path, name: str) -> Path:
    """Return the path of a page's file by its name, such as ``tables/01-loss.csv``."""
    if name == PAGE:
        return page
    return page.parent / (name if page.stem == "summary" else f"{page.stem}-{name}")


def link(page: Path, name: str) -> str:
    """Return the address of an export, from the page."""
    return "./" + urllib.parse.quote(place(page, name).relative_to(page.parent).as_posix())


def runs_csv(store: Store, coverages: Iterable[Coverage]) -> bytes:
    """Make ``runs.csv``: every run of these experiments, oldest first."""
    return to_csv(
        [_run(each.experiment_name, run) for each in coverages for run in store.runs(each.experiment_id)]
    )


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
    plain = " ".join(clean(text, MAX_CELL).split()).replace(" · ", ", ").translate(ASCII)
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
    lo, hi = contrast.get("interval") or (None, None)
    return [
        latex(contrast["experiment"]),
        latex(sides_of(contrast)),
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


def digests(files: Mapping[str, bytes]) -> dict[str, str]:
    """Return the SHA-256 of each file."""
    return {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}


def is_intact(page: Path, name: str, digest: str) -> bool:
    """Tell whether a listed file of a page is one of its exports, and there as it was written."""
    try:
        return (
            OURS.fullmatch(name) is not None
            and hashlib.sha256(place(page, name).read_bytes()).hexdigest() == digest
        )
    except OSError:
        return False


def remove_old(page: Path, listed: Mapping[str, str], kept: Mapping[str, str]) -> None:
    """Remove the exports that an earlier report listed and this one does not have, if nobody altered them."""
    for name, digest in listed.items():
        if name not in kept and is_intact(page, name, digest):
            place(page, name).unlink(missing_ok=True)


def write_files(files: Mapping[Path, bytes]) -> None:
    """Write files: all of them, or none and `FailedError` if one cannot be written; each is replaced at once."""
    with ExitStack() as stack:
        ready = []
        try:
            for path, content in files.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                temporary = path.with_name(f".{path.name}.{os.getpid()}")
                stack.callback(temporary.unlink, missing_ok=True)
                temporary.write_bytes(content)
                ready.append((temporary, path))
            for temporary, path in ready:
                temporary.replace(path)
        except OSError as error:  # not the store's
            raise FailedError(f"{path} cannot be written: {error.strerror}") from error
