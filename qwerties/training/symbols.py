"""Torch code run on symbols: what it does to tensors, as straight lines of C++ over scalars.

A function of plain torch is run once on real tensors of one network and one point; beside every tensor goes an array of
the same shape that holds, for each element, a number or the name of a C++ variable. Shapes, views and sums over axes so
vanish: they only say which names go where.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten


class UnsupportedError(Exception):
    """An operation of torch that is not among those written out here."""


class Name(str):
    """A C++ variable; any other element is a number that is known."""

    __slots__ = ()


Element = Name | float | bool


class Code:
    """Lines of C++ that define a variable each, none twice.

    Attributes
    ----------
    lines : list of str
    made : dict
        Name -> (form, arguments) of its line.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.made: dict[Element, tuple[str, tuple[Element, ...]]] = {}
        self._names: dict[tuple[str, tuple[Element, ...]], Name] = {}
        self._line: dict[Element, str] = {}

    def define(self, form: str, *arguments: Element) -> Name:
        """Name the value of a form such as ``{} + {}``; the name there is, if that was named before."""
        key = form, arguments
        if key not in self._names:
            name = Name(f"t{len(self._names)}")
            self.lines.append(f"const auto {name} = {form.format(*map(literal, arguments))};")
            self._names[key], self.made[name], self._line[name] = name, key, self.lines[-1]
        return self._names[key]

    def take(self, element: Element) -> list[str]:
        """Lines that an element needs and that were not taken before, each after what it needs itself.

        Taken value by value, lines stand near their use: compilers take far less time to allot registers.
        """
        taken: list[str] = []
        todo = [element]
        while todo:
            name = todo[-1]
            missing = (
                [part for part in self.made[name][1] if part in self._line] if name in self._line else []
            )
            if missing:
                todo += reversed(missing)
                continue
            todo.pop()
            if name in self._line:
                taken.append(self._line.pop(name))
        return taken


def literal(element: Element) -> str:
    """A variable, or a number as C++ writes a float."""
    if isinstance(element, Name):
        return element
    if not math.isfinite(element):
        raise UnsupportedError(f"the number {element}")
    return f"{float(element)!r}f"


def vector(element: Element) -> str:
    """A variable, or a vector whose lanes all hold the number."""
    return element if isinstance(element, Name) else f"all({literal(element)})"


def names(prefix: str, shape: Sequence[int]) -> np.ndarray:
    """An array of variables prefix0, prefix1, ..."""
    made = np.empty(math.prod(shape), dtype=object)
    made[:] = [Name(f"{prefix}{i}") for i in range(made.size)]
    return made.reshape(shape)


def flatten(arrays: Iterable[np.ndarray]) -> list[Element]:
    """Elements of several arrays, one after the other."""
    return [element for array in arrays for element in array.ravel()]


def trace(
    function: Callable[..., Sequence[Tensor]],
    tensors: Sequence[Tensor],
    symbols: Sequence[np.ndarray],
    code: Code,
) -> list[np.ndarray]:
    """Run a function on symbols.

    Parameters
    ----------
    function : callable
        Takes the tensors, returns tensors. What it does must not depend on their values.
    tensors : sequence of Tensor
        Of the right shapes; their values do not matter.
    symbols : sequence of ndarray of object
        What stands for them, in the same shapes: variables, or numbers where they are known.
    code : Code
        Is given the lines.

    Returns
    -------
    list of ndarray of object
        What stands for each tensor that was returned.

    Raises
    ------
    UnsupportedError
        If the function uses an operation that is not written out here.
    """
    tensors = [
        tensor.clone() for tensor in tensors
    ]  # each a tensor of its own, also where one was given twice
    with _Symbolic(tensors, symbols, code) as mode:
        return [mode.of(value) for value in function(*tensors)]


class _Symbolic(TorchDispatchMode):
    """Does every operation to the symbols, too."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch imports its own compiler, to tell it to keep out: 1.5 seconds and 80 MB

    def __init__(self, tensors: Sequence[Tensor], symbols: Sequence[np.ndarray], code: Code) -> None:
        super().__init__()
        self._operations = _operations(code)
        self._known = {
            id(tensor): (tensor, symbol) for tensor, symbol in zip(tensors, symbols, strict=True)
        }  # the tensors themselves, so that no id is used again

    def of(self, value: Any) -> Any:
        """The symbols of a tensor; of one that nobody made from ours, its numbers."""
        if not isinstance(value, Tensor):
            return value
        if id(value) in self._known:
            return self._known[id(value)][1]
        return np.array(value.tolist(), dtype=object).reshape(value.shape)

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        if function not in self._operations:
            raise UnsupportedError(str(function))
        if kwargs.get("alpha", 1) != 1:
            raise UnsupportedError(f"{function} with alpha")
        try:
            symbol = self._operations[function](*map(self.of, args))
        except (
            ArithmeticError,
            TypeError,
            ValueError,
        ) as error:  # 1 / 0, or more arguments than are known here
            raise UnsupportedError(f"{function}: {error}") from None
        for one, its in (
            zip(result, symbol, strict=True) if isinstance(result, tuple | list) else [(result, symbol)]
        ):
            self._known[id(one)] = one, np.asarray(its, dtype=object).reshape(one.shape)
        return result


def _operations(code: Code) -> dict[Any, Callable[..., Any]]:
    """What each operation of torch does to arrays of symbols."""

    def lifted(of: Callable[..., Element], arguments: int) -> Callable[..., np.ndarray]:
        """Of arrays; returns an array also of shape (), as numpy would take a bare name for a string."""
        over = np.frompyfunc(of, arguments, 1)
        return lambda *arrays: np.asarray(over(*arrays), dtype=object)

    def elementwise(
        form: str,
        known: Callable[..., Any],
        *,
        neutral: tuple[float | None, ...] = (None, None),
    ) -> Callable[..., np.ndarray]:
        """An operation element by element; ``neutral`` are numbers that leave the other side as it is."""

        def of(*elements: Element) -> Element:
            if not any(isinstance(element, Name) for element in elements):
                return known(*elements)
            for i, (element, nothing) in enumerate(zip(elements, neutral, strict=False)):
                if nothing is not None and not isinstance(element, Name) and element == nothing:
                    return elements[1 - i]
            return code.define(form, *elements)

        return lifted(of, form.count("{}"))

    def choose(condition: Element, one: Element, other: Element) -> Element:
        if not isinstance(condition, Name):
            return one if condition else other
        return code.define("choose({}, {}, {})", condition, one, other)

    add = elementwise("{} + {}", operator.add, neutral=(0.0, 0.0))
    subtract = elementwise("{} - {}", operator.sub, neutral=(None, 0.0))
    multiply = elementwise("{} * {}", operator.mul, neutral=(1.0, 1.0))
    divide = elementwise("{} / {}", operator.truediv, neutral=(None, 1.0))
    sigmoid = elementwise("sigmoid({})", lambda a: 1 / (1 + math.exp(-a)))
    at_least = elementwise("at_least({}, {})", max)
    greater = elementwise("{} > {}", operator.gt)
    up_to = elementwise("{} <= {}", operator.le)
    where = lifted(choose, 3)

    def total(a: np.ndarray, axes: Sequence[int] | None = None, keepdim: bool = False) -> np.ndarray:
        for axis in sorted((i % a.ndim for i in axes) if axes else range(a.ndim), reverse=True):
            a = functools.reduce(add, np.split(a, a.shape[axis], axis))
            a = a if keepdim else a.squeeze(axis)
        return a

    def matrix_product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return total(multiply(a[:, :, None], b[None]), [1])

    def placed(a: np.ndarray, shape: Sequence[int], axis: int, index: int) -> np.ndarray:
        whole = np.full(shape, 0.0, dtype=object)
        np.moveaxis(whole, axis, 0)[index, ...] = a
        return whole

    def expanded(a: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        kept = (*[1] * (len(shape) - a.ndim), *a.shape)  # where the shape says -1
        return np.broadcast_to(a, [have if n == -1 else n for n, have in zip(shape, kept, strict=True)])

    def same(a: np.ndarray, *rest: Any) -> np.ndarray:
        return a

    return {
        aten.add.Tensor: add,
        aten.sub.Tensor: subtract,
        aten.rsub.Scalar: lambda a, b: subtract(b, a),
        aten.mul.Tensor: multiply,
        aten.div.Tensor: divide,
        aten.div.Scalar: divide,
        aten.neg.default: elementwise("-{}", operator.neg),
        aten.abs.default: elementwise("magnitude({})", abs),
        aten.exp.default: elementwise("exponential({})", math.exp),
        aten.reciprocal.default: lambda a: divide(1.0, a),
        aten.sqrt.default: elementwise("root({})", math.sqrt),
        aten.log.default: elementwise("logarithm({})", math.log),
        aten.sigmoid.default: sigmoid,
        aten.tanh.default: lambda a: subtract(multiply(2.0, sigmoid(multiply(2.0, a))), 1.0),
        aten.tanh_backward.default: lambda g, t: multiply(g, subtract(1.0, multiply(t, t))),
        aten.relu.default: lambda a: at_least(a, 0.0),
        aten.threshold_backward.default: lambda g, a, least: where(up_to(a, least), 0.0, g),
        aten.sigmoid_backward.default: lambda g, s: multiply(g, multiply(s, subtract(1.0, s))),
        aten.gt.Scalar: greater,
        aten.where.self: where,
        aten.clamp_min.default: at_least,
        aten.clamp_max.default: elementwise("at_most({}, {})", min),
        aten.sum.dim_IntList: total,
        aten.mean.default: lambda a: divide(total(a), float(a.size)),
        aten.mm.default: matrix_product,
        aten.t.default: lambda a: a.T,
        aten.unsqueeze.default: lambda a, axis: np.expand_dims(a, axis),
        aten.squeeze.dim: lambda a, axis: np.squeeze(a, axis) if a.shape[axis] == 1 else a,
        aten.expand.default: expanded,
        aten.select.int: lambda a, axis, index: np.moveaxis(a, axis, 0)[index],
        aten.select_backward.default: placed,
        aten.unbind.int: lambda a, axis=0: list(np.moveaxis(a, axis, 0)),
        aten.detach.default: same,
        aten.alias.default: same,
        aten.lift_fresh.default: same,
        aten.ones.default: lambda shape: np.full(shape, 1.0, dtype=object),
        aten.ones_like.default: lambda a: np.full(a.shape, 1.0, dtype=object),
        aten.scalar_tensor.default: float,
    }
