"""The same loop by hand in C++ (`handwritten_cpp.cpp`), built into a folder by g++: as fast as it gets."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np

from qwerties.errors import first_line

# What -ffast-math allows here, without what it does to the process that loads it: no subnormal numbers any more
FLAGS = (
    *(
        "-O3",
        "-march=native",
        "-shared",
        "-fPIC",
        "-fno-math-errno",
        "-fno-trapping-math",
        "-fno-signed-zeros",
    ),
    *("-fassociative-math", "-freciprocal-math", "-ffinite-math-only", "-ffp-contract=fast"),
)
ALIGNMENT = 64  # bytes; vectors are loaded whole


def build(folder: Path) -> tuple[Path | None, str]:
    """Compile the loop; return the library, or None and the reason why there is none."""
    compiler = shutil.which("g++")
    if compiler is None:
        return None, "no g++"
    library, source = folder / "loop.so", Path(__file__).with_suffix(".cpp")
    command = [compiler, *FLAGS, str(source), "-o", str(library)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (library, "") if done.returncode == 0 else (None, f"g++ failed: {first_line(done.stderr)}")


def _aligned(shape: tuple[int, ...]) -> np.ndarray:
    """Return float32 zeros at an address that vectors can be loaded from."""
    size = int(np.prod(shape)) * 4
    buffer = np.zeros(size + ALIGNMENT, np.uint8)
    begin = -buffer.ctypes.data % ALIGNMENT
    return buffer[begin : begin + size].view(np.float32).reshape(shape)


class Loop:
    """Networks of one hidden layer of 1 or 8 units, laid out for the loop, to be trained again and again.

    Points ``x`` are float32, (networks, 2, points), those of class 0 first. The weights, (networks, ...), have the
    names of ``nn.Sequential``'s state dict.
    """

    def __init__(self, library: Path, x: np.ndarray, weights: dict[str, np.ndarray]) -> None:
        self.library = ctypes.CDLL(str(library))
        lanes = self.library.lanes()
        self.networks, _, self.points = x.shape
        self.hidden = weights["0.weight"].shape[1]
        groups = -(-self.networks // lanes)
        taken = np.arange(groups * lanes) % self.networks  # the last group is filled up
        self.x = _aligned((groups, self.points, 2, lanes))
        self.x[:] = x[taken].reshape(groups, lanes, 2, self.points).transpose(0, 3, 2, 1)
        units = (weights["0.weight"], weights["0.bias"][..., None], weights["2.weight"].transpose(0, 2, 1))
        packed = np.concatenate(units, axis=2)  # (networks, hidden, 4)
        start = np.concatenate((packed.reshape(self.networks, -1), weights["2.bias"]), axis=1)
        self.start = start[taken].reshape(groups, lanes, -1).transpose(0, 2, 1)

    def train(self, epochs: int, learning_rate: float) -> np.ndarray:
        """Train all networks from their start; return the losses, (networks, epochs)."""
        groups, _, lanes = self.start.shape
        weights, losses = _aligned(self.start.shape), _aligned((groups, epochs, lanes))
        weights[:] = self.start
        pointer = ctypes.POINTER(ctypes.c_float)
        failed = self.library.train(
            *(array.ctypes.data_as(pointer) for array in (self.x, weights, losses)),
            groups,
            self.hidden,
            self.points // 2,
            epochs,
            ctypes.c_float(learning_rate),
        )
        if failed:
            raise ValueError(f"hidden must be 1 or 8 units, got {self.hidden}")
        return losses.transpose(0, 2, 1).reshape(-1, epochs)[: self.networks]
