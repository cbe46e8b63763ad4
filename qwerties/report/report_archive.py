"""The report as an artifact of the store: one run in the MLflow experiment ``qwerties/report`` for every page made.

The experiment is tagged, and `Store.experiments` does not list it: no coverage, digest or check counts it. A report
that is there already is not written again. Of more than `MAX_REPORTS`, the oldest are deleted as MLflow's UI does it,
and can be restored from there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from qwerties.errors import first_line
from qwerties.report.export import digests
from qwerties.tracking.records import Record
from qwerties.tracking.store import Store, StoreError, store_failures
from qwerties.tracking.tags import NOTE, PAGE, REPORT, TITLE

EXPERIMENT = "report"
MAX_REPORTS = 10

DESCRIPTION = "What `qwerties report` wrote: page, verdicts and tables, one run for each report that differs."


def keep(store: Store, files: Mapping[str, bytes]) -> str:
    """Keep the files of a report (`build.Written`) in the store; figures are in the page, and stay out.

    Returns
    -------
    str
        What came of it, in one line: where the store does not take it, the report stands all the same.
    """
    kept = {name: content for name, content in files.items() if not name.startswith("figures/")}
    key = hashlib.sha256(json.dumps(digests(kept), sort_keys=True).encode()).hexdigest()
    try:
        experiment_id = store.experiment(EXPERIMENT, {REPORT: "kept", TITLE: "Reports", NOTE: DESCRIPTION})
        reports = store.runs(experiment_id)
        for run in reversed(reports):
            if run.tags.get(PAGE) == key and run.status == "FINISHED":
                return f"kept in the store already: run {run.run_id}"
        run_id = store.write(experiment_id, Record(f"report {key[:8]}", {}, {}, {PAGE: key}, files=kept))
        for run in reports[: max(len(reports) + 1 - MAX_REPORTS, 0)]:
            store.delete_run(run.run_id)
    except store_failures(StoreError) as error:
        # SQLAlchemy may begin by saying what it was doing: "(raised as a result of ...)"
        said = "\n".join(line for line in str(error).splitlines() if not line.startswith("(raised"))
        return f"the report is not kept in the store: {first_line(said) or type(error).__name__}"
    return f"kept in the store: run {run_id} of qwerties/{EXPERIMENT}"
