"""C++ -> a library that is loaded: found compiled before, or compiled now and kept."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from importlib.resources import files
from pathlib import Path

CACHE = "QWERTIES_KERNELS"
"""Environment variable: the folder in which compiled kernels are kept; without it, one that ends with the process."""

FLAGS = (
    *("-O2", "-shared", "-fPIC"),
    "-mcpu=native" if platform.machine() in ("aarch64", "arm64") else "-march=native",
    *("-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"),
)
"""No -ffast-math: NaN and infinity stay what they are."""


class CompilerError(Exception):
    """There is no C++ compiler, or it does not do."""


@functools.cache
def compiler() -> str | None:
    """The C++ compiler: ``CXX``, g++ or clang++; None where there is none."""
    found = map(shutil.which, filter(None, (os.environ.get("CXX"), "g++", "clang++", "c++")))
    return next((str(Path(name).absolute()) for name in found if name), None)


def _run(*arguments: str, folder: Path | None = None) -> str:
    """Run the compiler, in a folder; returns what it prints."""
    name = compiler()
    if name is None:
        raise CompilerError("no C++ compiler found")
    done = subprocess.run(
        [name, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode != 0:
        told = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise CompilerError(f"{name}: {next((line for line in told if 'error' in line), told[0])}")
    return done.stdout


@functools.cache
def _flags(manner: tuple[str, ...]) -> tuple[str, ...]:
    """Flags that this compiler takes."""
    try:
        _run(*FLAGS, *manner, "-x", "c++", "-fsyntax-only", os.devnull)
    except CompilerError:  # clang++, an old g++, or none that works
        return FLAGS
    return FLAGS + manner


@functools.cache
def _target() -> str:
    """The compiler's version and what it knows of this processor: all that it defines by itself."""
    return _run(*FLAGS, "-x", "c++", "-dM", "-E", os.devnull)


@functools.cache
def _folder() -> Path:
    """Where kernels are kept."""
    if os.environ.get(CACHE):
        folder = Path(os.environ[CACHE]).absolute()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError:
            pass  # a folder that can be read only
    _folder.temporary = tempfile.TemporaryDirectory(prefix="qwerties-kernels-")  # type: ignore[attr-defined]
    return Path(_folder.temporary.name)  # type: ignore[attr-defined]


def _digest(path: Path) -> str:
    """Of what a file holds; empty where it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:20]
    except OSError:
        return ""


@functools.cache
def load(text: str, manner: tuple[str, ...]) -> ctypes.CDLL:
    """Compile a text, unless that was done before, and load it.

    A library's name ends in its digest: to load one that was cut short would end the process.
    """
    whole = files("qwerties.training").joinpath("vector_math.h").read_text(encoding="utf-8") + text
    key = hashlib.sha256("\n".join((*_flags(manner), _target(), whole)).encode()).hexdigest()[:20]
    kept = (path for path in _folder().glob(f"{key}-*.so") if path.stem == f"{key}-{_digest(path)}")
    library = next(kept, None)
    if library is None:
        with tempfile.TemporaryDirectory(dir=_folder()) as scratch:
            Path(scratch, "kernel.cpp").write_text(whole, encoding="utf-8")
            built = Path(scratch, "kernel.so")
            _run(*_flags(manner), "kernel.cpp", "-o", built.name, "-lm", folder=Path(scratch))
            if not built.exists():
                raise CompilerError(f"{compiler()} wrote nothing")
            library = built.replace(_folder() / f"{key}-{_digest(built)}.so")
    try:
        return ctypes.CDLL(str(library))
    except OSError as error:
        raise CompilerError(str(error).replace(library.name, "kernel")) from None  # one cause for all
