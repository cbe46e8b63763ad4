"""The wheel holds the whole package, and works where the repository is not."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from processes import finish, started_python
from projects import TINY

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SHIPPED = (".py", ".html", ".css", ".js", ".json", ".md", ".h", ".cpp", ".mplstyle")
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from a copy of the sources, without the network: setuptools is installed."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    for name in ("qwerties", "benchmarks", "experiments", "tests"):  # the last three are not to be installed
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", target, source]
    subprocess.run(command, check=True, capture_output=True)
    [path] = target.iterdir()
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder in which the wheel is installed, apart from everything that it depends on."""
    target = tmp_path_factory.mktemp("installed")
    subprocess.run(
        [*PIP, "install", "--no-deps", "--no-index", "--target", target, wheel],
        check=True,
        capture_output=True,
    )
    return target


def test_it_holds_every_file_of_the_package_and_nothing_else(wheel):
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "qwerties").rglob("*") if path.is_file()}
    expected = {name for name in files if name.endswith(SHIPPED) and "__pycache__" not in name}
    assert {Path(name).suffix for name in expected} >= {".py", ".html", ".css", ".js", ".h", ".cpp"}
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert packed == expected


def test_its_command_tells_how_it_is_used(installed, tmp_path):
    command = installed / "bin" / "qwerties"
    with started_python(tmp_path, command, "--help", PYTHONPATH=str(installed)) as process:
        out, err = finish(process)
    assert out.startswith("usage: qwerties")
    assert err == ""


def test_a_sweep_runs_from_where_it_is_installed(installed, project):
    (project / "experiments" / "tiny.py").write_text(TINY)
    argv = ("-m", "qwerties", "sweep", "--seeds", "2", "--jobs", "1")
    script = "import qwerties, sys; sys.stdout.write(qwerties.__file__)"
    with started_python(project, "-c", script, PYTHONPATH=str(installed)) as process:
        assert finish(process)[0].startswith(str(installed) + os.sep)
    with started_python(project, *argv, PYTHONPATH=str(installed)) as process:
        out, _ = finish(process)
    assert out.startswith("2 runs of 2 planned configs tracked, 4 networks trained in ")
    assert "<h2" in (project / "reports" / "summary.html").read_text(encoding="utf-8")
