"""Settings that people's machines have: none changes a byte of the results, ends in a traceback, or says two lines.

CI tries them all at once where they allow that; ``--thorough`` tries each by itself, in a fresh interpreter.
"""

import json
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from urllib.parse import unquote

import psutil
import pytest
from factories import make_folder, make_study
from processes import run
from projects import TINY

pytestmark = pytest.mark.slow

SWEEP = ("sweep", "--seeds", "3", "--jobs", "1", "--no-report")
STYLE = "backend: TkAgg\nfont.size: 31\nlines.linewidth: 9\nsavefig.dpi: 20\ntext.usetex: True\naxes.facecolor: red\n"
PATCHES = {
    "no hard links": "import os\ndef link(*_, **__): raise OSError(1, 'Operation not permitted')\nos.link = link\n",
    "pandas options": "import pandas\npandas.set_option('display.precision', 1, 'display.max_rows', 1)\n",
    "seaborn theme": "import seaborn\nseaborn.set_theme(style='dark', font_scale=3)\n",
    "matplotlib styles": "import matplotlib\nmatplotlib.rcParams.update({'font.size': 40, 'figure.dpi': 13})\n",
    "numpy options": "import numpy\nnumpy.set_printoptions(precision=1)\nnumpy.seterr(all='raise')\n",
    "torch dtype": "import torch\ntorch.set_default_dtype(torch.float64)\n",
}
NONE = None  # the variable is unset
TOGETHER = {  # variables that can be set at once
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",  # as a cell of a notebook sets it
    "MATPLOTLIBRC": "{folder}/odd.rc",
    "PYTHONIOENCODING": "latin-1",
    "LC_ALL": "C",
    "MLFLOW_TRACKING_URI": " \r",  # a file of settings written on Windows
    "COLUMNS": "1",
    "TZ": "Pacific/Auckland",
    "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "true",
    "MLFLOW_EXPERIMENT_NAME": "mine",
    "MLFLOW_RUN_ID": "0" * 32,
    "MLFLOW_REGISTRY_URI": "sqlite:///elsewhere.db",
    "http_proxy": "http://127.0.0.1:9",
    "GIT_DIR": "/nonexistent",
    "PYTHONHASHSEED": "7",
    "OMP_NUM_THREADS": "64",
    "SOURCE_DATE_EPOCH": "abc",
    "XDG_CACHE_HOME": "/nonexistent",
    "LOKY_MAX_CPU_COUNT": "1",
}
ENVIRONMENTS = {
    "all at once": TOGETHER,
    **{f"{name}={value!r}": {name: value} for name, value in TOGETHER.items()},
    **{f"PYTHONIOENCODING={name}": {"PYTHONIOENCODING": name} for name in ("ascii", "cp1252", "utf-16")},
    "HOME unset": {"HOME": NONE, "USER": NONE, "LOGNAME": NONE, "XDG_CACHE_HOME": NONE},
    "HOME=/nonexistent": {"HOME": "/nonexistent"},
    "MPLCONFIGDIR=/nonexistent": {"MPLCONFIGDIR": "/nonexistent"},
    "MPLBACKEND=nonsense": {"MPLBACKEND": "nonsense"},
    "TMPDIR": {"TMPDIR": "{folder}/a tmp %20"},
    "PYTHONOPTIMIZE": {"PYTHONOPTIMIZE": "2"},
    "PYTHONUTF8=0": {"PYTHONUTF8": "0", "LANG": "C", "LC_ALL": "POSIX"},
    "TERM": {"TERM": "dumb", "FORCE_COLOR": "1", "CLICOLOR_FORCE": "1", "COLUMNS": "abc"},
    "MLFLOW_LOGGING_LEVEL": {"MLFLOW_LOGGING_LEVEL": "ERROR", "MLFLOW_ENABLE_ASYNC_LOGGING": "true"},
    "TORCH": {"TORCHDYNAMO_DISABLE": "1", "CUDA_VISIBLE_DEVICES": "-1"},
    "OPTUNA_STORAGE": {"OPTUNA_STORAGE": " "},
    "JOBLIB_TEMP_FOLDER": {"JOBLIB_TEMP_FOLDER": "/nonexistent"},
    **{name: {"PYTHONPATH": f"{{folder}}/{name}"} for name in PATCHES},
}


def results(folder):
    """Digests of every artifact that holds no time of day, by the run's params."""
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        runs = database.execute("SELECT run_uuid, name FROM runs WHERE status = 'FINISHED'").fetchall()
        found = []
        for run_id, name in runs:
            [tag] = database.execute(
                "SELECT value FROM tags WHERE run_uuid = ? AND key = 'qwerties.artifacts'", (run_id,)
            ).fetchone() or ["{}"]
            digests = {path: value for path, value in json.loads(tag).items() if not path.endswith(".npz")}
            found.append((name, sorted(digests.items())))
    return sorted(found)


def environment_of(folder, settings):
    """The environment of the tests with these settings."""
    environment = {**os.environ}
    for name, value in settings.items():
        environment.pop(name, None)
        if value is not NONE:
            environment[name] = value.format(folder=folder)
    roots = [environment.get("PYTHONPATH", ""), *filter(None, map(str, sys.path))]
    environment["PYTHONPATH"] = os.pathsep.join(roots)
    return environment


@pytest.fixture
def fresh(tmp_path):
    """A project with an empty store, beside files of settings."""
    folder = make_study(tmp_path / "project", tiny=TINY)
    (tmp_path / "odd.rc").write_text(STYLE)
    (tmp_path / "a tmp %20").mkdir()
    for name, source in PATCHES.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "sitecustomize.py").write_text(source)
    return folder


def names():
    return [pytest.param(name, marks=pytest.mark.thorough) for name in ENVIRONMENTS if name != "all at once"]


@pytest.mark.parametrize("name", ["all at once", *names()])
def test_an_environment_changes_no_byte(fresh, swept_project, name):
    """Memory is looked at while the command runs."""
    environment = environment_of(fresh.parent, ENVIRONMENTS[name])
    peak = 0
    with (fresh.parent / "stderr").open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "qwerties", *SWEEP],
            cwd=fresh,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
        while process.poll() is None:
            peak = max(peak, rss(process.pid))
            time.sleep(0.2)
    said = (fresh.parent / "stderr").read_bytes().decode(errors="replace")
    assert process.returncode == 0, said
    assert "Traceback" not in said
    assert [line for line in said.splitlines() if "error" in line.lower()] == []
    assert results(fresh) == results(swept_project)
    assert peak < 2 * 2**30
    assert not (fresh / "elsewhere.db").exists()


def rss(pid):
    try:
        return psutil.Process(pid).memory_info().rss
    except psutil.Error:
        return 0


STREAMS = {
    "closed stdout": ">&-",
    "closed stderr": "2>&-",
    "both closed": ">&- 2>&-",
    "full stdout": ">/dev/full",
    "full stderr": "2>/dev/full",
    "a pipe without a reader": "| true",
}


@pytest.mark.parametrize("name", STREAMS)
def test_streams_that_take_nothing(fresh, name):
    command = f"{sys.executable} -m qwerties status {STREAMS[name]}"
    environment = environment_of(fresh.parent, {"PYTHONUNBUFFERED": NONE})  # the text is written at the end
    done = subprocess.run(
        ["/bin/sh", "-c", command], cwd=fresh, env=environment, capture_output=True, check=False, timeout=100
    )
    said = done.stderr.decode()
    assert done.returncode in (0, 1)
    assert said.count("\n") <= 1, said
    assert "Traceback" not in said


def test_a_full_output_is_not_blamed_on_the_store(fresh):
    done = subprocess.run(
        ["/bin/sh", "-c", f"{sys.executable} -m qwerties {' '.join(SWEEP)} > /dev/full"],
        cwd=fresh,
        env=environment_of(fresh.parent, {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("qwerties: error: ")
    assert "cannot be written" in done.stderr
    assert "the store failed" not in done.stderr


# Folders


NAMES = ("a%20b # 'é'", "e\u0301tude", "\u202eoddly\u202c named", "a\nb", "-x", "~")


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_of_any_name_keeps_its_own_store(tmp_path, name):
    folder = make_study(tmp_path / name, tiny=TINY)
    names = {name, unquote(name)}
    (tmp_path / unquote(name)).mkdir(exist_ok=True)
    run(folder, *SWEEP)
    assert len(results(folder)) >= 2
    assert list((folder / "mlruns").glob("*/*/artifacts/seeds.csv"))
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == names
    assert names == {name} or not list((tmp_path / unquote(name)).iterdir())
    if "%" in name:  # in the URIs that a report links
        run(folder, "report")


def test_a_folder_whose_name_is_not_utf_8_is_refused_in_one_line(tmp_path):
    folder = make_folder(tmp_path / "caf\udce9", tiny=TINY)
    message = run(folder, *SWEEP, status=2)[1]
    assert message.startswith("qwerties: error: the project's path must be UTF-8, got b'")
    assert message.count("\n") == 1
