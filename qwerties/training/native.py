"""Loops over points, written in C++: plain torch of one network and one point, traced, a network in each vector lane.

Weights, moments and sums stay in registers or the first-level cache, and nothing of a lane depends on its neighbours.
"""

from __future__ import annotations

import functools
import itertools
import logging
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from qwerties.training.compiler import CompilerError, load
from qwerties.training.kernels import Kernel
from qwerties.training.networks import Knobs, Weights
from qwerties.training.symbols import (
    Code,
    Element,
    Name,
    UnsupportedError,
    flatten,
    literal,
    names,
    trace,
    vector,
)

log = logging.getLogger(__name__)

SPARING = (
    *("-fira-region=one", "-fira-algorithm=priority", "-fno-tree-dse", "-fno-tree-pre", "-fno-gcse"),
    "--param=sccvn-max-alias-queries-per-access=8",
    "--param=dse-max-alias-queries-per-store=8",
)
"""What spares g++ half of its time or more where there are hundreds of weights, and costs smaller loops a tenth."""

SLOWER = "training goes on without, about ten times slower"

MOST_WEIGHTS = 600
"""Of a network: every scalar is a variable, and the compiler takes a quarter of a minute for so many."""

STRETCH = 256
"""Points that are summed one after the other; such sums are then summed, so that rounding stays that of few."""

FEW_WEIGHTS = 80
"""Weights of a network up to which two points are worked on at once, by a compiler that is spared nothing."""

FEWEST_WEIGHTS = 16
"""Weights of a network up to which each class has a loop of its own, in which the label is known."""

PointFunction = Callable[[Weights, Knobs, Tensor, Tensor], Sequence[Tensor]]
"""Of one network and one point: (weights, knobs, x (2, 1), y (1,)) -> values, each of one element or of more."""

Update = Callable[
    [Weights, Weights, tuple[Weights, Weights], Knobs, Tensor], tuple[Weights, tuple[Weights, Weights]]
]


def _size(weights: Mapping[str, Tensor]) -> int:
    """Weights of one network, counted."""
    return sum(value.numel() for value in weights.values())


def _manner(weights: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Flags for loops of networks with these weights."""
    return () if _size(weights) <= FEW_WEIGHTS else SPARING


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
        library = load(body + _each_group(shared, _size(weights), count), _manner(weights))
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
        return Kernel(load(text, _manner(weights)), weights, count, shared=False, moments=2)

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
