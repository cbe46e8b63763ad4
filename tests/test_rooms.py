"""What the contracts of import-linter cannot say of imports: doors of big libraries, and what a process loads."""

import ast
import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest
from factories import fill, make_folder

from qwerties.tracking import tags

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "qwerties"
HEAVY = {"torch", "mlflow", "optuna"}

DOORS = {
    "mlflow": ("qwerties/tracking/", "benchmarks/tutorial.py"),  # the tutorial's way is measured against ours
    "optuna": ("qwerties/tuning/",),
    "dask": ("qwerties/execution/cluster.py",),
    "distributed": ("qwerties/execution/cluster.py",),
    "jax": ("benchmarks/",),
}


@functools.cache
def sources(*rooms):
    """Return the parsed modules below some folders of the repository, by their paths from its root."""
    paths = sorted(path for room in rooms for path in (ROOT / room).rglob("*.py"))
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def packages(tree):
    """Return the top-level names that a module imports, anywhere in it."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"imports must be absolute, got {ast.unparse(node)}"
            names.add(node.module.partition(".")[0])
    return names


def loaded(code, names, folder, **environment):
    """Run code in a process of its own; return which of the named modules it has loaded at its end."""
    script = f"import atexit, sys\natexit.register(lambda: print(*{names!r} & sys.modules.keys()))\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=200,
    )
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("package", list(DOORS))
def test_each_big_library_has_one_door(package):
    users = [path for path, tree in sources("qwerties", "benchmarks").items() if package in packages(tree)]
    assert users, f"nobody imports {package}"
    assert [path for path in users if not path.startswith(DOORS[package])] == []


def test_nobody_imports_the_experiments_and_none_of_them_another():
    names = {path.stem for path in (ROOT / "experiments").glob("*.py")}
    for path, tree in sources("qwerties", "benchmarks", "experiments").items():
        assert "experiments" not in packages(tree), path
    for path, tree in sources("experiments").items():
        assert not packages(tree) & names, path


def test_the_package_does_not_import_its_benchmarks():
    for path, tree in sources("qwerties", "experiments").items():
        assert "benchmarks" not in packages(tree), path


def test_only_the_leaves_stand_outside_the_rooms():
    names = {path.stem for path in (ROOT / "qwerties").glob("*.py")}
    assert names == {"__init__", "__main__", "config", "errors"}


MAIN = "sys.argv[1:] = {!r}\nfrom qwerties.cli.main import main\nmain()"


@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        ("import qwerties", HEAVY),
        (MAIN.format(["--help"]), HEAVY),
        ("import qwerties.cli.status, qwerties.study.coverage", {"torch", "matplotlib", "jinja2"}),
        (
            MAIN.format(["compare", "a.csv", "a.csv", "--metric", "m"]),
            {*HEAVY, "scipy", "matplotlib", "statsmodels", "sklearn", "dask"},
        ),
    ],
    ids=["import qwerties", "qwerties --help", "status", "compare"],
)
def test_what_is_asked_for_often_starts_without_heavy_libraries(tmp_path, code, heavy):
    (tmp_path / "a.csv").write_text("seed,m\n0,0.5\n1,0.6\n")
    assert loaded(code, heavy, tmp_path) == set()


@pytest.mark.slow
def test_the_report_is_made_without_torch(tmp_path):
    fill(make_folder(tmp_path))
    code = "from qwerties.cli.main import main\nassert main(['report']) == 0"
    assert loaded(code, HEAVY | {"jinja2"}, tmp_path) == {"mlflow", "jinja2"}


@pytest.mark.slow
def test_a_worker_loads_neither_mlflow_nor_optuna_nor_torchs_compiler(tmp_path):
    """Each takes seconds, of every worker."""
    code = (
        "from qwerties.config import Config, Seeds\nfrom qwerties.study.batches import Batch, train_batch\n"
        "from qwerties.tuning.trials import train_trials\n"
        "configs = (Config(epochs=9), Config(epochs=9, activation='tanh'))\n"
        "train_trials([Config(epochs=9)], Seeds(0, 64))\n"
        "train_batch(Batch(configs, Seeds(0, 2)))\n"
    )
    compilers = {"torch._dynamo", "torch._inductor", "sympy", "jax"}
    assert loaded(code, {"mlflow", "optuna", *compilers}, tmp_path, QWERTIES_KERNELS=str(tmp_path)) == set()


def test_names_of_tags_stand_in_one_file():
    names = {
        value for value in vars(tags).values() if isinstance(value, str) and value.startswith("qwerties.")
    }
    assert len(names) > 20
    others = (
        path
        for path in PACKAGE.rglob("*.py")
        if path.relative_to(PACKAGE).as_posix() not in ("tracking/tags.py", "__init__.py")  # of modules
    )
    assert [
        (path.name, name) for path in others for name in names if f'"{name}"' in path.read_text("utf-8")
    ] == []
