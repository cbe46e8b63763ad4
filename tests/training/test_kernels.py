"""How compiled kernels are kept, and what is done where there is none to be had."""

import fnmatch
import logging
import os
import shutil
import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest
import torch

from qwerties.config import Config, Seeds
from qwerties.scoring import score as scoring
from qwerties.study import experiment
from qwerties.training import compiler as compiling
from qwerties.training import native
from qwerties.training import trainer as training
from qwerties.training.trainer import train

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(  # continuous integration installs one, and must not pass without it
    not training.has_compiler() and not os.environ.get("CI"), reason="compiling needs a C++ compiler"
)

KINDS = [
    Config(hidden=(2,), loss=loss, activation=kind, epochs=20, learning_rate=0.1)
    for loss in ("bce", "mse")
    for kind in ("relu", "tanh")
]


def forget():
    """Do as a new process would."""
    modules = compiling.compiler, compiling._target, compiling._folder, compiling.load, native._warn
    for cached in (*modules, training._kernel, training.has_compiler, scoring._kernel):
        cached.cache_clear()


@pytest.fixture(autouse=True)
def _nothing_fails_unsaid(caplog):
    """Else a test might pass on the eager trainer, which stands in where the compiler fails."""
    yield
    assert [record.getMessage() for record in caplog.get_records("call")] == []


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder for kernels, and nothing remembered."""
    folder = tmp_path / "kernels"
    monkeypatch.setenv(compiling.CACHE, str(folder))
    forget()
    yield folder
    forget()


@pytest.fixture
def compiled(monkeypatch):
    """What was compiled, as it is."""
    calls, run = [], compiling._run

    def spy(*arguments, **more):
        if "-o" in arguments:
            calls.append(arguments)
        return run(*arguments, **more)

    monkeypatch.setattr(compiling, "_run", spy)
    return calls


def losses(configs=KINDS[:1], **how):
    return [one.losses.tobytes() for one in train(configs, Seeds(0, 3), **{"compiled": True, **how})]


def said(caplog):
    found = [record.getMessage() for record in caplog.records]
    caplog.clear()
    return found


def test_a_kernel_is_compiled_once_and_kept(folder, compiled):
    first = losses(KINDS)
    assert len(compiled) == len(KINDS) == len(list(folder.iterdir()))
    assert losses(KINDS) == first
    forget()
    assert losses(KINDS) == first
    assert len(compiled) == len(KINDS)


def test_a_kernel_is_compiled_anew_for_other_flags_and_another_header(
    folder, compiled, monkeypatch, tmp_path
):
    losses()
    forget()
    monkeypatch.setattr(compiling, "_flags", lambda manner: ("-O1", *compiling.FLAGS[1:]))
    losses()
    assert len(compiled) == 2
    forget()
    header = files("qwerties.training").joinpath("vector_math.h").read_text() + "// changed\n"
    (tmp_path / "vectors.h").write_text(header)
    monkeypatch.setattr(compiling, "files", lambda package: tmp_path)
    losses()
    assert len(compiled) == 3


def damaged(whole, how):
    if how == "a byte is another":
        return whole[: len(whole) // 2] + bytes([whole[len(whole) // 2] ^ 1]) + whole[len(whole) // 2 + 1 :]
    return {"empty": b"", "a page": whole[:4096], "all but a byte": whole[:-1], "other": b"no library"}[how]


@pytest.mark.parametrize("how", ["empty", "a page", "all but a byte", "a byte is another", "other", "none"])
def test_a_kept_kernel_that_is_damaged_is_compiled_anew(how, folder, compiled):
    expected = losses()
    (library,) = folder.iterdir()
    whole = library.read_bytes()
    library.unlink()  # never written over: this process has it
    if how != "none":
        library.write_bytes(damaged(whole, how))
    for _ in range(2):
        forget()
        assert losses() == expected
        assert len(compiled) == 2
    assert [path.read_bytes() for path in folder.iterdir()] == [whole]


@pytest.mark.parametrize("where", ["a file", ""])
def test_without_a_folder_to_write_to_kernels_end_with_the_process(
    where, folder, compiled, monkeypatch, tmp_path
):
    expected = losses()
    forget()
    (tmp_path / "a file").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(compiling.CACHE, where)
    before = sorted(tmp_path.rglob("*"))
    assert losses() == expected
    assert len(compiled) == 2
    (library,) = compiling._folder().iterdir()
    assert tmp_path not in library.parents
    assert sorted(tmp_path.rglob("*")) == before
    compiling._folder.temporary.cleanup()


def test_a_folder_may_be_relative(folder, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(compiling.CACHE, ".")
    assert losses()
    assert len(list(tmp_path.glob("*.so"))) == 1


def script(path, text):
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("#!/bin/sh\nexit 3", "exit status 3"),
        ("#!/bin/sh\necho In function f: >&2; echo k.cpp:1: error: no >&2; exit 1", "k.cpp:1: error: no"),
        ("#!/bin/sh\nprintf '\\377' >&2; exit 1", "\N{REPLACEMENT CHARACTER}"),
        ("\0", "Exec format error"),
        ("#!/bin/sh\nexit 0", "wrote nothing"),
        ("#!/bin/sh\n[ ! -f kernel.cpp ] || echo no > kernel.so", "kernels/kernel: "),
    ],
    ids=lambda text: text[-25:],
)
def test_a_compiler_that_fails_is_named_once_and_training_goes_on(
    text, cause, folder, monkeypatch, caplog, tmp_path
):
    monkeypatch.setenv("CXX", script(tmp_path / "c++", text))
    with caplog.at_level(logging.WARNING):
        assert losses(KINDS) == losses(KINDS, compiled=False)
    (warning,) = said(caplog)
    assert warning.startswith("the compiler failed (")
    assert warning.endswith(f"): {native.SLOWER}")
    assert cause in warning


def test_a_compiler_that_is_not_there_is_passed_over(folder, monkeypatch, caplog):
    monkeypatch.setenv("CXX", "/no/such/compiler")
    assert compiling.compiler() == (shutil.which("g++") or shutil.which("clang++"))
    forget()
    monkeypatch.setenv("PATH", str(folder))
    with caplog.at_level(logging.WARNING):
        assert losses(KINDS) == losses(KINDS, compiled=False)
    assert said(caplog) == [f"the compiler failed (no C++ compiler found): {native.SLOWER}"]


def test_what_cannot_be_written_out_is_named(caplog):
    with caplog.at_level(logging.WARNING):
        assert native.means(lambda w, k, x, y: [torch.sin(x)], {"w": torch.zeros(1)}, {}) is None
    assert said(caplog) == [f"the compiler failed (aten.sin.default): {native.SLOWER}"]


PROCESS = """
import sys
from qwerties.config import Config, Seeds
from qwerties.training.trainer import train
config = Config(hidden=(2,), epochs=20, learning_rate=0.1)
print(train([config], Seeds(0, 3), compiled=True)[0].losses.tobytes().hex())
"""


def test_processes_share_a_folder_whatever_its_name(folder, monkeypatch, tmp_path):
    """Two compile one kernel at the same moment; a third finds what was cut short."""
    expected = losses()[0].hex()
    place = tmp_path / "a folder – für Kerne"
    wait = f"""#!/bin/sh
case "$*" in *" -o "*)
    echo >> '{tmp_path}/calls'
    for i in $(seq 300); do [ $(wc -l < '{tmp_path}/calls') -ge 2 ] && break; sleep 0.1; done
esac
exec '{compiling.compiler()}' "$@"
"""
    there = {**os.environ, compiling.CACHE: str(place), "CXX": script(tmp_path / "c++", wait)}

    def begin():
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-c", PROCESS],
            cwd=ROOT,
            env=there,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def end(process):
        out, err = process.communicate(timeout=200)
        assert (process.returncode, err) == (0, "")
        assert out.strip() == expected

    def calls():
        return len((tmp_path / "calls").read_text().splitlines())

    for process in [begin(), begin()]:
        end(process)
    assert calls() == 2
    (library,) = place.iterdir()
    library.write_bytes(library.read_bytes()[:5000])
    end(begin())
    assert calls() == 3
    assert place.joinpath(library.name).stat().st_size > 5000


# What else depends on the header


def test_the_codes_digest_changes_with_the_header(monkeypatch, tmp_path):
    for name in (*(f"{module}.py" for module in experiment.NUMERIC_MODULES), "vectors.h"):
        shutil.copy(ROOT / "qwerties" / name, tmp_path)
    assert {"compiling", "kernels", "native", "symbols"} <= set(experiment.NUMERIC_MODULES)
    monkeypatch.setattr(experiment, "__file__", str(tmp_path / "experiment.py"))
    digest = experiment.code_digest.__wrapped__
    before = digest()
    assert before == experiment.code_digest()
    header = tmp_path / "vectors.h"
    header.write_text(header.read_text().replace("SCALE = 24", "SCALE = 25"))
    assert digest() != before


def test_the_header_is_part_of_the_built_package():
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    assert files("qwerties.training").joinpath("vector_math.h").is_file()
    others = [path.name for path in (ROOT / "qwerties").iterdir() if path.is_file() and path.suffix != ".py"]
    assert "vectors.h" in others
    for name in others:
        assert any(fnmatch.fnmatch(name, pattern) for pattern in told["qwerties"]), name
