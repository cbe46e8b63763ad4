"""How compiled kernels are kept, and what is done where there is none to be had."""

import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from references import assert_equals_reference, needs_compiler

from qwerties.config import Config, Seeds
from qwerties.training import compiler as compiling
from qwerties.training import native
from qwerties.training.reference import train_reference
from qwerties.training.trainer import train

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, needs_compiler]

KINDS = [
    Config(hidden=(2,), loss=loss, activation=kind, epochs=20, learning_rate=0.1)
    for loss in ("bce", "mse")
    for kind in ("relu", "tanh")
]


def forget():
    """Do as a new process would."""
    modules = compiling.find_compiler, compiling._target, compiling._folder, compiling.load
    for cached in (*modules, native._load, native._warn):
        cached.cache_clear()


@pytest.fixture(autouse=True)
def _nothing_fails_unsaid(caplog):
    """Else a test might pass on PyTorch, which trains where the compiler fails."""
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


def losses(configs=KINDS[:1]):
    return [trained.losses.tobytes() for trained in train(configs, Seeds(0, 3))]


def assert_trained():
    """By whatever trains: the notebook's loop within rounding."""
    for config, trained in zip(KINDS, train(KINDS, Seeds(0, 3)), strict=True):
        for seed in range(3):
            assert_equals_reference(trained, seed, train_reference(config, seed))


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


def test_a_kernel_is_compiled_anew_for_other_flags_and_other_sources(folder, compiled, monkeypatch, tmp_path):
    losses()
    forget()
    monkeypatch.setattr(compiling, "FLAGS", ("-O1", *compiling.FLAGS))
    losses()
    assert len(compiled) == 2
    for number, name in enumerate(("vector_math.h", "kernel.cpp"), 3):
        forget()
        sources = tmp_path / name
        shutil.copytree(compiling.SOURCES, sources)
        with (sources / name).open("a") as file:
            file.write("// changed\n")
        monkeypatch.setattr(compiling, "SOURCES", sources)
        losses()
        assert len(compiled) == number


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
        (
            '#!/bin/sh\nwhile [ $# -gt 1 ]; do [ "$1" != -o ] || echo no > "$2"; shift; done',
            "kernels/kernel: ",
        ),
    ],
    ids=lambda text: text[-25:],
)
def test_a_compiler_that_fails_is_named_once_and_training_goes_on(
    text, cause, folder, monkeypatch, caplog, tmp_path
):
    monkeypatch.setenv("CXX", script(tmp_path / "c++", text))
    with caplog.at_level(logging.WARNING):
        assert_trained()
    (warning,) = said(caplog)
    assert warning.endswith(f": {native.SLOWER}")
    assert cause in warning


def test_a_compiler_that_is_not_there_is_passed_over(folder, monkeypatch, caplog):
    monkeypatch.setenv("CXX", "/no/such/compiler")
    assert compiling.find_compiler() == (shutil.which("g++") or shutil.which("clang++"))
    forget()
    monkeypatch.setenv("PATH", str(folder))
    with caplog.at_level(logging.WARNING):
        assert_trained()
    assert said(caplog) == [f"no C++ compiler was found; install g++ or clang++: {native.SLOWER}"]


PROCESS = """
import sys
from qwerties.config import Config, Seeds
from qwerties.training.trainer import train
config = Config(hidden=(2,), epochs=20, learning_rate=0.1)
print(train([config], Seeds(0, 3))[0].losses.tobytes().hex())
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
exec '{compiling.find_compiler()}' "$@"
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
