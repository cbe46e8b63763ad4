"""Imported by the process that commands are forked from: one small sweep and its report.

It fills the caches of matplotlib, MLflow and SQLAlchemy, which every command would fill again, for half a second each.
"""

import gc
import tempfile
from pathlib import Path

from factories import call, make_folder
from projects import TINY

with tempfile.TemporaryDirectory() as _folder:
    _project = make_folder(Path(_folder, "project"), tiny=TINY)
    call(_project, "sweep", "--seeds", "3", "--jobs", "1")
gc.collect()
gc.freeze()  # what is there stays there: no command needs to look through it
