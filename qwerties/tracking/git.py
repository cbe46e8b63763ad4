"""The commit that runs are made from."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def commit_tags() -> dict[str, str]:
    """Return the commit of the working folder and whether files have changed since, as MLflow's tags.

    The result is empty where git does not track the folder's experiments: a source archive that was unpacked inside
    another repository has no commit. Git's own variables, as a hook sets them, may name another repository and are
    ignored.
    """
    try:
        if not _git("ls-files", "--", "experiments"):
            return {}
        commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain")
    except (OSError, subprocess.SubprocessError):
        return {}  # git is not installed, or this is no repository
    return {"mlflow.source.git.commit": commit, "mlflow.source.git.dirty": str(bool(changes)).lower()}


def _git(*arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-C", str(Path.cwd()), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30, env=environment)
    return done.stdout.strip()
