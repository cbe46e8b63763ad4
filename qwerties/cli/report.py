"""``qwerties report``: the page, from the store alone."""

from __future__ import annotations

import argparse
from pathlib import Path

from qwerties.cli.parser import Parser, output_ending_in
from qwerties.cli.progress import Progress
from qwerties.cli.project import enter_root, open_store
from qwerties.errors import UsageError, command, complain
from qwerties.execution.workers import cores

DESCRIPTION = "Write the report, from the store alone."
EXAMPLE = "qwerties report --check"


def add_options(parser: Parser) -> None:
    """Add the command's options."""
    parser.option(
        "--output", output_ending_in(".html", ".htm"), "FILE", "page to write (default: reports/summary.html)"
    )
    parser.flag("--check", "write nothing; exit status 1 if a verdict of the last report no longer holds")


def run(arguments: argparse.Namespace) -> int:
    """Write the report, or check whether the verdicts of the last one hold."""
    root = enter_root()
    page = arguments.output or root / "reports" / "summary.html"
    return _check(root, page) if arguments.check else write_report(root, page, archive=not arguments.output)


def write_report(root: Path, page: Path, *, archive: bool = True, only_if_changed: bool = False) -> int:
    """Write the page and its verdicts, print the answers, and archive the page in the store.

    Returns
    -------
    int
        1 if a section could not be made, else 0.
    """
    with open_store(root, reads=True) as store:
        from qwerties.report import report_archive, verdicts_file
        from qwerties.report.build import is_current, write_report

        if page.is_dir() or not (page.parent.is_dir() or not page.parent.exists()):
            raise UsageError(f"the report must be a file in a folder, got {page}")
        if only_if_changed and is_current(store, page):
            print(f"report unchanged: {page}")
            return 0
        try:
            with Progress("report") as progress:
                written = write_report(store, page, progress.show, jobs=min(cores(), 2))
                message = report_archive.keep(store, written.files) if archive else None
        except verdicts_file.VerdictsError as error:
            raise UsageError(f"{error}; move it out of the way") from None
    lines = (written.text, f"report: {written.page}", f"verdicts: {written.verdicts}", message)
    print("\n".join(line for line in lines if line))
    return max((complain(failure, 1) for failure in written.failures), default=0)


def _check(root: Path, page: Path) -> int:
    """Print which verdicts changed since the last report; return 1 if one no longer holds."""
    from qwerties.analysis.contrasts import load_results
    from qwerties.report import export, verdicts_file

    path = export.place(page, export.VERDICTS)
    before = verdicts_file.read_verdicts(path)
    if before is None:
        raise UsageError(f"--check needs the verdicts of a report, got none in {path}: {command('report')}")
    with open_store(root, reads=True) as store:
        changes = verdicts_file.changes(before, verdicts_file.make_document(load_results(store)))
    print(verdicts_file.changes_text(changes))
    return 1 if any(change["flipped"] for change in changes) else 0
