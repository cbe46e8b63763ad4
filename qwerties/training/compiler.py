"""kernel.cpp -> a loaded library: found in a folder of compiled kernels, or compiled now and kept there."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

# Environment variable: the folder of compiled kernels, which processes may share. Without it, a temporary folder serves
# until the process ends.
CACHE = "QWERTIES_KERNELS"

SOURCES = Path(__file__).parent  # of kernel.cpp and its header

# No -ffast-math: NaN and infinity stay what they are.
FLAGS = (
    *("-std=c++17", "-O3", "-shared", "-fPIC"),
    "-mcpu=native" if platform.machine() in ("aarch64", "arm64") else "-march=native",
    *("-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"),
)


class CompilerError(Exception):
    """No working C++ compiler was found."""


@functools.cache
def find_compiler() -> str | None:
    """Return the path of the C++ compiler: ``CXX``, g++ or clang++; None where there is none."""
    names = map(shutil.which, filter(None, (os.environ.get("CXX"), "g++", "clang++", "c++")))
    return next((str(Path(name).absolute()) for name in names if name), None)


def _run(*arguments: str) -> str:
    """Run the compiler and return what it prints."""
    name = find_compiler()
    if name is None:
        raise CompilerError("no C++ compiler was found; install g++ or clang++")
    done = subprocess.run(
        [name, *arguments],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        cause = next((line for line in lines if "error" in line), lines[0])
        raise CompilerError(f"the C++ compiler {name} failed: {cause}")
    return done.stdout


@functools.cache
def _target() -> str:
    """Return all that the compiler defines by itself: its version, and what it knows of this processor."""
    return _run(*FLAGS, "-x", "c++", "-dM", "-E", os.devnull)


@functools.cache
def _folder() -> Path:
    """Return the folder of compiled kernels."""
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


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:20]


@functools.cache
def load(defines: tuple[str, ...]) -> ctypes.CDLL:
    """Compile kernel.cpp with definitions such as ``WIDTHS=2,8,1``, unless that was done before, and load it.

    The name of a library ends in the digest of its bytes, as loading a damaged one would end the process.

    Raises
    ------
    CompilerError
        If there is no compiler, or it fails, or what it wrote cannot be loaded.
    OSError
        If the folder cannot be written to.
    """
    sources = [path.read_text(encoding="utf-8") for path in sorted(SOURCES.glob("*.[ch]*"))]
    key = _digest("\n".join((*FLAGS, *defines, _target(), *sources)).encode())
    kept = (
        path for path in _folder().glob(f"{key}-*.so") if path.stem == f"{key}-{_digest(path.read_bytes())}"
    )
    library = next(kept, None)
    if library is None:
        with tempfile.TemporaryDirectory(dir=_folder()) as scratch:
            built = Path(scratch, "kernel.so")
            _run(*FLAGS, *(f"-D{d}" for d in defines), str(SOURCES / "kernel.cpp"), "-o", str(built), "-lm")
            if not built.exists():
                raise CompilerError(f"the C++ compiler {find_compiler()} wrote nothing")
            library = built.replace(_folder() / f"{key}-{_digest(built.read_bytes())}.so")
    try:
        return ctypes.CDLL(str(library))
    except OSError as error:
        raise CompilerError(str(error).replace(library.name, "kernel")) from None  # one cause for all kernels
