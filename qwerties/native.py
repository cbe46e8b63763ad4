"""Loops over points in C++: plain torch of one network and one point, traced, with a network in each vector lane.

Weights, moments and sums stay in registers or the first-level cache, and nothing of a lane depends on its neighbours.
Kernels are compiled when first needed, in tenths of a second, and kept in a folder, under names that tell what they
were made from and what they hold.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import itertools
import logging
import math
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from qwerties.networks import Knobs, Weights
from qwerties.symbols import Code, Element, Name, UnsupportedError, flatten, literal, names, trace, vector

log = logging.getLogger(__name__)

CACHE = "QWERTIES_KERNELS"
"""Environment variable: the folder in which compiled kernels are kept; without it, one that ends with the process."""

FLAGS = (
    *("-O2", "-shared", "-fPIC"),
    "-mcpu=native" if platform.machine() in ("aarch64", "arm64") else "-march=native",
    *("-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"),
)
"""No -ffast-math: NaN and infinity stay what they are."""

SPARING = (
    *("-fira-region=one", "-fira-algorithm=priority", "-fno-tree-dse", "-fno-tree-pre", "-fno-gcse"),
    "--param=sccvn-max-alias-queries-per-access=8",
    "--param=dse-max-alias-queries-per-store=8",
)
"""What spares g++ half of its time or more where there are hundreds of weights, and the loops nothing."""

SLOWER = "training goes on without, about ten times slower"

MOST_WEIGHTS = 600
"""Of a network: every scalar is a variable, and the compiler takes a quarter of a minute for so many."""

AT_ONCE = 2**29
"""Points times networks times epochs of one call, about a second of it: then Ctrl-C is seen."""

STRETCH = 256
"""Points that are summed one after the other; such sums are then summed, so that rounding stays that of few."""

FEW_WEIGHTS = 80
"""Of a network: two points are worked on at once, and the compiler, spared nothing, is quick all the same."""

FEWEST_WEIGHTS = 16
"""Of a network: each class has a loop of its own, in which the label is known."""

PointFunction = Callable[[Weights, Knobs, Tensor, Tensor], Sequence[Tensor]]
"""Of one network and one point: (weights, knobs, x (2, 1), y (1,)) -> values, each of one element or of more."""

Update = Callable[
    [Weights, Weights, tuple[Weights, Weights], Knobs, Tensor], tuple[Weights, tuple[Weights, Weights]]
]


class CompilerError(Exception):
    """There is no C++ compiler, or it does not do."""


def _size(weights: Mapping[str, Tensor]) -> int:
    """Weights of one network, counted."""
    return sum(value.numel() for value in weights.values())


# The kernels


def means(
    function: PointFunction, weights: Weights, known: Mapping[str, float], *, shared: bool = False
) -> Kernel | None:
    """Compile the means of a function's values over all points.

    Parameters
    ----------
    function : callable
    weights : dict of Tensor
        One network's, for their shapes.
    known : mapping of str to float
        Knobs that all networks have in common.
    shared : bool
        Whether all networks have the same points.

    Returns
    -------
    Kernel, optional
        None, and a warning, where it cannot be compiled.
    """

    def build() -> Kernel:
        body, count = _means(function, weights, _knobs(known), shared)
        library = _load(body + _each_group(shared, _size(weights), count), _manner(weights))
        return Kernel(library, weights, count, shared, moments=0)

    return _attempted(build)


def training(
    function: PointFunction, update: Update, weights: Weights, known: Mapping[str, float]
) -> Kernel | None:
    """Compile a training loop: the means, and updates by them.

    ``function`` gives the gradient by every weight, in their order, and last the loss; ``update`` is one of
    `optimizers`. The rest is as in `means`.
    """

    def build() -> Kernel:
        knobs = _knobs(known)
        body, count = _means(function, weights, knobs, shared=False)
        text = body + _each_group(False, 3 * _size(weights), count) + _epochs(update, weights, knobs, count)
        return Kernel(_load(text, _manner(weights)), weights, count, shared=False, moments=2)

    return _attempted(build)


def _attempted(build: Callable[[], Kernel]) -> Kernel | None:
    try:
        return build()
    except (CompilerError, UnsupportedError, OSError) as error:  # a disk may be full
        _warn(str(error))
        return None


@functools.cache
def _warn(cause: str) -> None:
    """Say once what every kernel may fail of."""
    log.warning("the compiler failed (%s): %s", cause, SLOWER)


def _knobs(known: Mapping[str, float]) -> np.ndarray:
    """Symbols of a network's knobs, (knobs,)."""
    elements = [known.get(name, Name(f"k{i}")) for i, name in enumerate(Knobs._fields)]
    return np.array(elements, dtype=object)


def _places(array: str, weights: Weights, first: int = 0) -> list[np.ndarray]:
    """Symbols of weights that lie one after the other in a C++ array, from its place ``first`` on."""
    found = []
    for value in weights.values():
        places = [Name(f"{array}[{i}]") for i in range(first, first + value.numel())]
        found.append(np.array(places, dtype=object).reshape(value.shape))
        first += value.numel()
    return found


def _read(variables: Sequence[Element], array: str) -> list[str]:
    """Lines that read variables from an array's places; places of numbers that are known are passed over."""
    return [
        f"const V {variable} = {array}[{i}];"
        for i, variable in enumerate(variables)
        if isinstance(variable, Name)
    ]


def _means(function: PointFunction, weights: Weights, knobs: np.ndarray, shared: bool) -> tuple[str, int]:
    """The function ``means_of`` in C++, and how many means there are."""
    w = _places("w", weights)

    def of_point(*values: Tensor) -> Sequence[Tensor]:
        *ws, k, x, y = values
        return function(dict(zip(weights, ws, strict=True)), Knobs(*k), x, y)

    def loop(label: np.ndarray, first: str, stop: str) -> tuple[list[list[str]], list[str]]:
        code = Code()
        tensors = [*weights.values(), torch.zeros(len(knobs)), torch.zeros(2, 1), torch.zeros(1)]
        values = flatten(trace(of_point, tensors, [*w, knobs, names("x", (2, 1)), label], code))
        sums = [_sum(code, i, value) for i, value in enumerate(values)]
        has_label, is_paired = isinstance(label[0], Name), _size(weights) <= FEW_WEIGHTS
        label_of = "all({} < points / 2 ? 0.0f : 1.0f)" if has_label else "all(0.0f)"
        lines = [
            "{",
            "const auto point = [&](auto x0, auto x1, auto y0) __attribute__((always_inline)) {",
            "using X = decltype(x0);",
            # the last first, as gradients are propagated
            *itertools.chain(*([*code.take(summand), add] for _, summand, add, _ in reversed(sums))),
            "};",
            f"int64_t i = {first};",
            f"const int64_t stop = {stop};",
            *(
                [
                    "for (; i + 1 < stop; i += 2)",
                    f"point(Pair({at(0)}, {at(2)}), Pair({at(1)}, {at(3)}), "
                    f"Pair({label_of.format('i')}, {label_of.format('i + 1')}));",
                ]
                * is_paired
            ),
            f"for (; i < stop; i++) point({at(0)}, {at(1)}, {label_of.format('i')});",
            "}",
        ]
        return [[declare for declare, *_ in sums], lines], [read for *_, read in sums]

    def at(place: int) -> str:
        return f"all(x[2 * i + {place}])" if shared else f"x[2 * i + {place}]"

    if _size(weights) > FEWEST_WEIGHTS:
        loops = [loop(names("y", (1,)), "begin", "end")]
    else:
        zero, one = (np.array([label], dtype=object) for label in (0.0, 1.0))
        loops = [loop(zero, "begin", "least(end, points / 2)"), loop(one, "most(begin, points / 2)", "end")]
    (declared, _), read = loops[0]
    return (
        _block(
            f"static __attribute__((noinline)) void means_of(const {'float' if shared else 'V'} *x, const V *k, "
            "const V *w, V *out, int64_t points)",
            _read(list(knobs), "k"),
            [f"V total{i} = {{}};" for i in range(len(read))],
            [f"for (int64_t begin = 0; begin < points; begin += {STRETCH}) {{"],
            [f"const int64_t end = least(begin + {STRETCH}, points);"],
            declared,
            *(lines for (_, lines), _ in loops),
            [f"total{i} += {value};" for i, value in enumerate(read)],
            ["}"],
            [f"out[{i}] = total{i} / float(points);" for i in range(len(read))],
        ),
        len(read),
    )


def _sum(code: Code, i: int, value: Element) -> tuple[str, Element, str, str]:
    """How the sum of a value over points is declared, what it needs of a point, how that is added, and the sum read.

    Logarithms are summed as that of a product: of ``-max(log(x), least)``, x is multiplied, where x is not negative and
    its least is in the range of `Logs`.
    """
    negated = code.made.get(value, ("", ()))
    clamped = code.made.get(negated[1][0], ("", ())) if negated[0] == "-{}" else ("", ())
    logged = code.made.get(clamped[1][0], ("", ())) if clamped[0] == "at_least({}, {})" else ("", ())
    if logged[0] == "logarithm({})" and -100 <= float(clamped[1][1]) <= 0:
        least = math.exp(float(clamped[1][1])) * 2**24
        x = logged[1][0]
        return f"Logs s{i};", x, f"s{i}.add(X({vector(x)}), {literal(least)});", f"-s{i}.sum(end - begin)"
    return f"V s{i} = {{}};", value, f"s{i} += X({vector(value)});", f"s{i}"


def _each_group(shared: bool, values: int, count: int) -> str:
    """The function ``means`` that is called: for networks (groups, values, LANES), means (groups, count, LANES)."""
    points = "x" if shared else "(const V *)x + g * 2 * points"
    return _block(
        'extern "C" void means(const float *x, const float *k, const float *w, float *out, int64_t groups, '
        "int64_t points)",
        [
            "for (int64_t g = 0; g < groups; g++)",
            f"means_of({points}, (const V *)k + g * {len(Knobs._fields)}, (const V *)w + g * {values}, "
            f"(V *)out + g * {count}, points);",
        ],
    )


def _epochs(update: Update, weights: Weights, knobs: np.ndarray, count: int) -> str:
    """The function ``advance``: epochs from ``begin`` to ``end``, their losses (groups, epochs, LANES)."""

    def of_epoch(*values: Tensor) -> Sequence[Tensor]:
        *parts, k, correction = values
        old, gradients, *moments = (
            dict(zip(weights, part, strict=True)) for part in zip(*[iter(parts)] * len(weights), strict=True)
        )
        new, state = update(old, gradients, (moments[0], moments[1]), Knobs(*k), correction)
        return [value for part in (new, *state) for value in part.values()]

    code, size = Code(), _size(weights)
    tensors = [*weights.values()] * 4 + [torch.zeros(len(knobs)), torch.zeros(2)]
    symbols = [
        symbol
        for array, first in (("moved", 0), ("mean", 0), ("moved", size), ("moved", 2 * size))
        for symbol in _places(array, weights, first)
    ]
    after = flatten(trace(of_epoch, tensors, [*symbols, knobs, names("c", (2,))], code))
    width = len(Knobs._fields)
    group = _block(
        "static void advance_group(const V *x, const V *k, V *moved, const float *corrections, V *losses, "
        "int64_t points, int64_t begin, int64_t end)",
        _read(list(knobs), "k"),
        ["for (int64_t epoch = begin; epoch < end; epoch++) {", f"V mean[{count}], next[{len(after)}];"],
        ["means_of(x, k, moved, mean, points);", f"losses[epoch] = mean[{count - 1}];"],
        ["const V c0 = all(corrections[2 * epoch]), c1 = all(corrections[2 * epoch + 1]);"],
        *(
            [*code.take(after[i]), f"next[{i}] = {vector(after[i])};"]
            for place in range(size)  # weight by weight, with its moments
            for i in range(place, len(after), size)
        ),
        ["memcpy(moved, next, sizeof next);", "}"],
    )
    return group + _block(
        'extern "C" void advance(const float *x, const float *k, float *moved, const float *corrections, '
        "float *losses, int64_t groups, int64_t points, int64_t epochs, int64_t begin, int64_t end)",
        [
            "for (int64_t g = 0; g < groups; g++)",
            f"advance_group((const V *)x + g * 2 * points, (const V *)k + g * {width}, "
            f"(V *)moved + g * {len(after)}, corrections, (V *)losses + g * epochs, points, begin, end);",
        ],
    )


def _block(head: str, *parts: Sequence[str]) -> str:
    return "\n".join((f"{head} {{", *itertools.chain(*parts), "}", ""))


# Compiling


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


def _manner(weights: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Flags for loops of networks with these weights."""
    return () if _size(weights) <= FEW_WEIGHTS else SPARING


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
def _load(text: str, manner: tuple[str, ...]) -> ctypes.CDLL:
    """Compile a text, unless that was done before, and load it.

    A library's name ends in its digest: to load one that was cut short would end the process.
    """
    whole = files("qwerties").joinpath("vectors.h").read_text(encoding="utf-8") + text
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


# Calling


def _address(tensor: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())


class Kernel:
    """A compiled loop, and how networks are laid out for it: (groups, values, lanes)."""

    def __init__(
        self, library: ctypes.CDLL, weights: Weights, count: int, shared: bool, *, moments: int
    ) -> None:
        self._library, self._count, self._shared, self._moments = library, count, shared, moments
        self._shapes = {name: value.shape for name, value in weights.items()}
        self.lanes: int = library.lanes()

    def _pack(self, values: Tensor) -> Tensor:
        """(networks, values) -> (groups, values, lanes); the last group is filled up with the last network."""
        groups = -(-len(values) // self.lanes)
        taken = torch.arange(groups * self.lanes).clamp(max=len(values) - 1)
        return values[taken].reshape(groups, self.lanes, -1).transpose(1, 2).contiguous().float()

    def _points(self, x: Tensor) -> Tensor:
        """Points as the loop reads them: of each network (networks, 2, points), or of all (2, points)."""
        return x.T.contiguous().float() if self._shared else self._pack(x.transpose(1, 2).flatten(1))

    def _weights(self, weights: Weights) -> Tensor:
        flat = torch.cat([value.reshape(len(value), -1) for value in weights.values()], dim=1)
        return self._pack(torch.nn.functional.pad(flat, (0, self._moments * flat.shape[1])))

    def means(self, weights: Weights, k: Tensor, x: Tensor) -> Tensor:
        """Mean of every value over the points, (networks, values).

        Parameters
        ----------
        weights : dict of Tensor, (networks, ...)
        k : Tensor, (networks, knobs)
        x : Tensor, (networks, 2, points) or, where they are shared, (2, points)
            The first half is of class 0, the second of class 1.
        """
        out = self._call_means(self._points(x), self._pack(k), self._weights(weights), x.shape[-1])
        return out.transpose(1, 2).flatten(0, 1)[: len(k)]

    def _call_means(self, x: Tensor, k: Tensor, moved: Tensor, points: int) -> Tensor:
        """Means of what is laid out already, (groups, values, lanes)."""
        out = torch.empty(len(moved), self._count, self.lanes)
        self._library.means(*map(_address, (x, k, moved, out)), *map(ctypes.c_int64, (len(moved), points)))
        return out

    def start(self, weights: Weights, k: Tensor, x: Tensor, corrections: Tensor) -> Running:
        """Begin a training; weights, k and x as in `means`, corrections of Adam (epochs, 2)."""
        return Running(self, weights, k, x, corrections)


class Running:
    """A training under way.

    Attributes
    ----------
    done : int
        Epochs.
    """

    def __init__(self, kernel: Kernel, weights: Weights, k: Tensor, x: Tensor, corrections: Tensor) -> None:
        self._kernel, self._networks, self._points = kernel, len(k), x.shape[-1]
        self._x, self._k, self._moved = kernel._points(x), kernel._pack(k), kernel._weights(weights)
        self._corrections = corrections.contiguous().float()
        self._losses = torch.empty(len(self._moved), len(corrections), kernel.lanes)
        self.done = 0

    def advance(self, epochs: int) -> None:
        """Train for so many more epochs; for no more than there are corrections."""
        if self.done + epochs > len(self._corrections):
            raise ValueError(f"{self.done + epochs} epochs of {len(self._corrections)}")
        stop, at_once = self.done + epochs, max(1, AT_ONCE // (self._networks * self._points))
        while self.done < stop:
            end = min(self.done + at_once, stop)
            counts = (len(self._moved), self._points, len(self._corrections), self.done, end)
            self._kernel._library.advance(
                *map(_address, (self._x, self._k, self._moved, self._corrections, self._losses)),
                *map(ctypes.c_int64, counts),
            )
            self.done = end

    @property
    def weights(self) -> Weights:
        """A copy of the weights as they are, (networks, ...)."""
        return self._named(self._moved)

    @property
    def gradients(self) -> Weights:
        """Means of the gradients by the weights as they are, (networks, ...)."""
        return self._named(self._kernel._call_means(self._x, self._k, self._moved, self._points))

    def _named(self, values: Tensor) -> Weights:
        """(groups, values, lanes), of which the first are one for each weight -> a copy of these, (networks, ...)."""
        flat = values.transpose(1, 2).flatten(0, 1)[: self._networks]
        sizes = [math.prod(shape) for shape in self._kernel._shapes.values()]
        parts = flat[:, : sum(sizes)].clone().split(sizes, dim=1)
        return {
            name: part.reshape(-1, *shape)
            for (name, shape), part in zip(self._kernel._shapes.items(), parts, strict=True)
        }

    @property
    def losses(self) -> Tensor:
        """Loss before each epoch's update, (networks, epochs)."""
        return self._losses.transpose(1, 2).flatten(0, 1)[: self._networks]
