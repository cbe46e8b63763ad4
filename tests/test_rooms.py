"""The import table: which module of ours may import which, held over the syntax trees."""

import ast
import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "qwerties"

MAY_IMPORT = {
    # numbers
    "config": (),
    "record": (),
    "tags": (),
    "space": (),
    "objectives": ("config",),
    "theory": (),
    "data": (),
    "networks": ("config",),
    "optimizers": ("networks",),
    "symbols": (),
    "compiling": (),
    "kernels": ("networks",),
    "native": ("compiling", "kernels", "networks", "symbols"),
    "lifted": ("config", "native", "networks", "optimizers"),
    "training": ("compiling", "config", "data", "kernels", "lifted", "native", "networks", "optimizers"),
    "reference": ("config", "networks"),
    "scoring": ("config", "data", "kernels", "native", "networks", "theory"),
    "maps": ("config",),
    "map_scores": ("config", "data", "maps", "networks", "scoring", "theory", "training"),
    # inference
    "intervals": (),
    "scores": (),
    "stats": ("intervals", "scores"),
    "sequential": ("intervals", "scores", "stats"),
    "variance": ("intervals", "scores", "stats"),
    # pictures
    "lettering": (),
    "theme": ("lettering",),
    "canvas": ("lettering", "theme"),
    "labels": ("lettering", "theme"),
    "plots": ("canvas", "labels", "theme"),
    "figures": ("labels", "theme"),
    "answers": (),
    "markup": ("intervals",),
    "exemplar_figures": ("answers", "canvas", "config", "labels", "lettering", "markup", "plots", "theme"),
    # the store
    "bulk": ("record",),
    "errors": (),
    "processes": (),
    "signals": (),
    "devices": ("config", "errors", "training"),
    "address": ("errors",),
    "tracking": ("address", "bulk", "config", "errors", "processes", "record", "tags"),
    # the folder it is in
    "relocate": (),
    "archive": ("relocate",),
    # tuned studies
    "locks": ("space",),
    "search": ("errors", "locks", "space"),
    # what puts them together
    "results": (
        *(
            "config",
            "data",
            "devices",
            "native",
            "networks",
            "optimizers",
            "record",
            "reference",
            "scoring",
            "theory",
        ),
        "training",
        *("canvas", "labels", "lettering", "plots", "theme"),
    ),
}
"""What each module imports at most; modules that are not here may import anything but what is forbidden below."""

ONE_DOOR = {
    "mlflow": ("tracking", "registry", "bench.tutorial"),
    "optuna": ("search",),
    "dask": ("cluster",),
    "distributed": ("cluster",),
    "joblib": ("workers", "drawing", "bench.peak"),
    "jax": ("bench.jaxed",),
}  # runs, the registry of models, MLflow as its tutorial uses it, to be measured; studies; a rival in the bench
WITHOUT_TORCH = (
    "study_part",
    "report",
    "questions",
    "exemplars",
    "ledger",
    "films",
    "player",
    "status",
    "exports",
    "kept",
    "provenance",
    "map_part",
    "map_options",
)


@functools.cache
def trees():
    """Every module by its name below the package, such as ``bench.measure``."""
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def imported(tree, *, lazily=True):
    """Dotted names that a module imports, those inside its functions too unless ``lazily`` is False."""
    found = set()
    todo = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            todo += node.orelse
            continue
        if not lazily and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        todo += ast.iter_child_nodes(node)
    return found


@functools.cache
def siblings(tree, *, lazily=True):
    """Modules of ours that a module imports, named as in :func:`trees`."""
    names = [name.split(".")[1:] for name in imported(tree, lazily=lazily) if name.startswith("qwerties.")]
    return {".".join(name[:2]) if name[0] == "bench" else name[0] for name in names}


@functools.cache
def packages(tree, *, lazily=True):
    return {name.split(".")[0] for name in imported(tree, lazily=lazily)}


@functools.cache
def reach(start, *, lazily=True):
    """A module and all of ours that importing it brings in, at once or later."""
    ours, seen, todo = trees(), set(), [start]
    while todo:
        name = todo.pop()
        if name not in seen and name in ours:
            seen.add(name)
            todo += siblings(ours[name], lazily=lazily)
    return seen


@pytest.mark.parametrize("module", list(MAY_IMPORT))
def test_a_module_imports_only_what_lies_left_of_it(module):
    beyond = siblings(trees()[module]) - set(MAY_IMPORT[module])
    assert not beyond, f"qwerties/{module}.py imports {', '.join(sorted(beyond))}"


def test_the_table_goes_one_way():
    for module in MAY_IMPORT:
        seen, todo = set(), list(MAY_IMPORT[module])
        while todo:
            name = todo.pop()
            assert name != module, f"{module} would import itself"
            if name not in seen:
                seen.add(name)
                todo += MAY_IMPORT[name]


def test_no_modules_import_one_another():
    """At the top of a file; ``Experiment.main`` reaches for the command line when a person runs it alone."""
    ours = trees()
    for module, tree in ours.items():
        for sibling in siblings(tree, lazily=False):
            assert module not in reach(sibling, lazily=False), f"{module} and {sibling} import one another"


@pytest.mark.parametrize("module", list(trees()))
@pytest.mark.parametrize(("package", "doors"), list(ONE_DOOR.items()))
def test_each_big_library_has_one_door(module, package, doors):
    if module not in doors:
        assert package not in packages(trees()[module]), (
            f"qwerties/{module}.py imports {package}: that is for {' and '.join(doors)}"
        )


def test_results_knows_nothing_of_the_store():
    assert not reach("results") & {"tracking", "bulk", "experiment", "cli"}


def test_a_worker_loads_neither_mlflow_nor_optuna_nor_torchs_compiler(tmp_path):
    """Each takes seconds, of every worker."""
    work = (
        "import sys\nfrom qwerties.config import Config, Seeds\nfrom qwerties.study.experiment import Shard\n"
        "from qwerties.tuning.trials import train_trials\nfrom qwerties.study.tasks import Task, train_shard\n"
        "configs = (Config(epochs=9), Config(epochs=9, activation='tanh'))\n"
        "train_trials([Config()], Seeds(0, 64))\n"
        "train_shard(Task(Shard(configs, Seeds(0, 2)), 'cpu', None))\n"
        "print({'mlflow', 'optuna', 'torch._dynamo', 'torch._inductor', 'sympy', 'jax'} & sys.modules.keys())\n"
    )
    environment = {**os.environ, "QWERTIES_KERNELS": str(tmp_path)}
    told = subprocess.run(
        [sys.executable, "-c", work], capture_output=True, text=True, check=True, env=environment
    )
    assert told.stdout == "set()\n"


@pytest.mark.parametrize("module", [module for module in WITHOUT_TORCH if module in trees()])
def test_the_page_is_made_without_torch(module):
    for name in reach(module):
        assert "torch" not in packages(trees()[name]), (
            f"{module} reaches qwerties/{name}.py, which imports torch"
        )


def test_the_command_line_starts_without_torch_and_mlflow():
    for name in reach("cli", lazily=False):
        heavy = {"torch", "mlflow", "optuna"} & packages(trees()[name], lazily=False)
        assert not heavy, f"cli brings in qwerties/{name}.py, which imports {', '.join(heavy)}"


@pytest.mark.parametrize("module", list(trees()))
def test_nobody_imports_the_experiments(module):
    assert "experiments" not in packages(trees()[module])


def test_experiments_do_not_import_one_another():
    names = {path.stem for path in (ROOT / "experiments").glob("*.py")}
    for path in (ROOT / "experiments").glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert not packages(tree) & {"experiments", *(names - {"notebook"})}, path.name


@pytest.mark.parametrize("module", [module for module in trees() if not module.startswith("bench.")])
def test_nothing_rests_on_the_bench(module):
    assert not {name for name in siblings(trees()[module]) if name.startswith("bench")}


def test_the_packages_themselves_import_nothing():
    for package in ("__init__", "bench.__init__"):
        assert not imported(trees()[package])


def test_imports_are_read_from_every_form():
    tree = ast.parse(
        "import mlflow.pytorch as p\nfrom qwerties import bulk, data\nfrom qwerties.config import Config\n"
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from qwerties.cli.main import main\n"
        "def f():\n    from qwerties.tracking.store import Store\n    from benchmarks.measure import Row\n"
    )
    assert siblings(tree) == {"bulk", "data", "config", "tracking", "bench.measure"}
    assert siblings(tree, lazily=False) == {"bulk", "data", "config"}
    assert packages(tree) == {"mlflow", "qwerties", "typing"}
