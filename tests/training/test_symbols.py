"""What torch does to tensors, written out as lines over scalars: evaluated in numpy here, they give torch's numbers."""

import re

import numpy as np
import pytest
import torch

from qwerties.training import symbols
from qwerties.training.symbols import Code, Name, UnsupportedError, flatten, names, trace

aten = torch.ops.aten

CASES = [  # an operation, and what it is given: a tensor by its name, or a number as it is
    (aten.add.Tensor, "a", "b"),
    (aten.add.Tensor, "a", "row"),
    (aten.add.Tensor, "column", "row"),
    (aten.add.Tensor, "a", 2.5),
    (aten.add.Tensor, "a", 0),
    (aten.sub.Tensor, "a", "b"),
    (aten.sub.Tensor, "a", "single"),
    (aten.sub.Tensor, "a", 0.1),
    (aten.rsub.Scalar, "a", 1),
    (aten.rsub.Scalar, "a", 0),
    (aten.mul.Tensor, "a", "b"),
    (aten.mul.Tensor, "column", "row"),
    (aten.mul.Tensor, "a", 1e12),
    (aten.mul.Tensor, "a", 1.0),
    (aten.mul.Tensor, "a", 0.0),
    (aten.div.Tensor, "a", "positive"),
    (aten.div.Tensor, "a", 3),
    (aten.div.Scalar, "a", -0.7),
    (aten.div.Scalar, "a", 1),
    (aten.neg.default, "a"),
    (aten.abs.default, "a"),
    (aten.exp.default, "a"),
    (aten.reciprocal.default, "positive"),
    (aten.sqrt.default, "positive"),
    (aten.log.default, "positive"),
    (aten.sigmoid.default, "a"),
    (aten.tanh.default, "a"),
    (aten.tanh.default, "single"),
    (aten.tanh_backward.default, "a", "b"),
    (aten.tanh_backward.default, "single", "other"),
    (aten.relu.default, "a"),
    (aten.threshold_backward.default, "a", "b", 0),
    (aten.threshold_backward.default, "a", "b", 0.25),
    (aten.sigmoid_backward.default, "a", "b"),
    (aten.sigmoid_backward.default, "single", "other"),
    (aten.sigmoid_backward.default, "other", "row"),
    (aten.where.self, "mask", "a", "b"),
    (aten.where.self, "mask", "row", "single"),
    (aten.clamp_min.default, "a", -0.3),
    (aten.clamp_max.default, "a", 0.3),
    (aten.sum.dim_IntList, "a", [0]),
    (aten.sum.dim_IntList, "a", [-1]),
    (aten.sum.dim_IntList, "a", [1, 0]),
    (aten.sum.dim_IntList, "a", []),
    (aten.sum.dim_IntList, "a", [1], True),
    (aten.sum.dim_IntList, "cube", [-1, 0], True),
    (aten.sum.dim_IntList, "cube", [1]),
    (aten.sum.dim_IntList, "line", [0]),
    (aten.sum.dim_IntList, "line", [0], True),
    (aten.mean.default, "cube"),
    (aten.mean.default, "single"),
    (aten.mm.default, "a", "right"),
    (aten.t.default, "a"),
    (aten.t.default, "line"),
    (aten.unsqueeze.default, "a", 0),
    (aten.unsqueeze.default, "a", 1),
    (aten.unsqueeze.default, "a", -1),
    (aten.squeeze.dim, "column", 1),
    (aten.squeeze.dim, "column", -1),
    (aten.squeeze.dim, "cube", 2),
    (aten.expand.default, "row", ["n", "m"]),
    (aten.expand.default, "row", [-1, "m"]),
    (aten.expand.default, "column", [2, -1, "m"]),
    (aten.select.int, "a", 0, -1),
    (aten.select.int, "a", -1, 0),
    (aten.select.int, "cube", 1, 0),
    (aten.select.int, "line", 0, 0),
    (aten.select_backward.default, "line", ["n", "m"], 0, -1),
    (aten.select_backward.default, "line", ["m", 2], -1, 1),
    (aten.select_backward.default, "single", ["m"], 0, 0),
    (aten.unbind.int, "a"),
    (aten.unbind.int, "cube", 1),
    (aten.detach.default, "a"),
    (aten.alias.default, "a"),
    (aten.lift_fresh.default, "a"),
    (aten.ones.default, [2, 3]),
    (aten.ones_like.default, "a"),
    (aten.scalar_tensor.default, 2.5),
]  # aten.gt.Scalar gives what only a choice takes: it is in every mask
SIZES = [(3, 4), (1, 1), (2, 1), (1, 5)]


def told(case):
    return " ".join(map(str, case)).removeprefix("aten.")


def inputs(n, m, seed=0):
    draw = torch.Generator().manual_seed(seed)
    shapes = {
        "a": (n, m),
        "b": (n, m),
        "row": (1, m),
        "column": (n, 1),
        "single": (),
        "other": (),
        "line": (m,),
        "cube": (n, m, 2),
        "right": (m, 3),
        "positive": (n, m),
        "chosen": (n, m),
    }
    tensors = {name: torch.randn(shape, generator=draw) for name, shape in shapes.items()}
    tensors["positive"] = tensors["positive"].exp() + 0.01
    return tensors


def apply(case, tensors):
    """The case's operation on tensors, as a list of its results."""
    operation, *arguments = case
    n, m = tensors["a"].shape
    there = {**tensors, "mask": tensors["chosen"] > 0.1, "n": n, "m": m}
    filled = [
        [there.get(size, size) for size in argument]
        if isinstance(argument, list)
        else there.get(argument, argument)
        for argument in arguments
    ]
    result = operation(*filled)
    return list(result) if isinstance(result, list | tuple) else [result]


KNOWN = {
    "sigmoid": lambda a: 1 / (1 + np.exp(-a)),
    "exponential": np.exp,
    "logarithm": np.log,
    "root": np.sqrt,
    "magnitude": np.abs,
    "at_least": np.maximum,
    "at_most": np.minimum,
    "choose": np.where,
    "all": np.float32,
}


def evaluate(code, values):
    """Work out lines of C++ in numpy, given their variables' values."""
    found = dict(values)
    for line in code.lines:
        name, text = re.fullmatch(r"const auto (\w+) = (.+);", line).groups()
        text = re.sub(r"\b(\d+\.\d+(e[+-]\d+)?|\d+e[+-]\d+)f", r"number(\1)", text)
        found[name] = eval(text, {**KNOWN, "number": np.float32}, found)
    return found


def on_symbols(function, tensors):
    """What a function gives when traced and evaluated, (a tensor for each result), and its code."""
    code, symbol = Code(), [names(f"{name}_", value.shape) for name, value in tensors.items()]
    made = trace(
        lambda *values: function(dict(zip(tensors, values, strict=True))), [*tensors.values()], symbol, code
    )
    held = np.concatenate([value.numpy().ravel() for value in tensors.values()])
    values = evaluate(code, dict(zip(flatten(symbol), held, strict=True)))

    def of(element):
        return float(values[element] if isinstance(element, Name) else element)

    return [torch.tensor([of(e) for e in array.ravel()]).reshape(array.shape) for array in made], code


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=told)
def test_an_operation_on_symbols_gives_torchs_numbers(case, size):
    tensors = inputs(*size, seed=len(told(case)))
    expected = apply(case, tensors)
    found, _ = on_symbols(lambda given: apply(case, given), tensors)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=2e-6, atol=5e-7)


def test_every_operation_there_is_has_a_case():
    assert {case[0] for case in CASES} | {aten.gt.Scalar} == set(symbols._operations(Code()))


def test_a_gradient_by_autograd_is_traced_like_any_other_operation():
    def function(given):
        a, right, row = (given[name].requires_grad_() for name in ("a", "right", "row"))
        hidden = torch.sigmoid(a * row) + torch.tanh(a) * torch.where(a > 0, 1.0, row)
        value = (torch.relu(hidden @ right) / 3)[0].mean()
        return [*torch.autograd.grad(value, [a, right, row]), value.detach()]

    tensors = inputs(3, 4)
    expected = function({name: value.clone() for name, value in tensors.items()})
    found, code = on_symbols(function, tensors)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other.detach(), rtol=1e-5, atol=1e-6)
    _, again = on_symbols(function, inputs(3, 4, seed=1))
    assert again.lines == code.lines  # nothing of the values got in


# What needs no line


def lines(function, *shapes, known=()):
    """The lines of a function of tensors p, q, ..., and what it returns first."""
    code = Code()
    symbol = [names(letter, shape) for letter, shape in zip("pqr", shapes, strict=False)]
    symbol += [np.array(value, dtype=object) for value in known]
    made = trace(function, [torch.rand(s.shape) for s in symbol], symbol, code)
    return code.lines, flatten(made)


def test_views_are_free():
    def function(p):
        return [p.t().unsqueeze(0).expand(2, 3, 2)[1][:, 0].detach()]

    assert lines(function, (2, 3)) == ([], ["p0", "p1", "p2"])


def test_what_is_known_is_worked_out():
    def function(p, k):
        return [p * torch.where(k > 0.5, 1.0, k[0] * 2 + 0.25) / (1 - k)]

    assert lines(function, (1,), known=[[0.5]]) == (
        ["const auto t0 = p0 * 1.25f;", "const auto t1 = t0 / 0.5f;"],
        ["t1"],
    )


def test_zeros_and_ones_that_change_nothing_are_left_out():
    def function(p, k):
        one = torch.ones(1)
        return [(p * one + (one - 1)) / one - 0.0, k * p, 0 + one * k]

    assert lines(function, (1,), known=[[1.0]]) == ([], ["p0", "p0", 1.0])


def test_zero_times_what_may_be_nan_is_not_zero():
    assert lines(lambda p: [p * 0.0], (1,))[0] == ["const auto t0 = p0 * 0.0f;"]


def test_a_choice_that_is_known_is_made():
    def function(p, q, k):
        return [torch.where(k > 0.5, p, q), torch.where(k > 2, p, q)]

    assert lines(function, (1,), (1,), known=[[1.0]]) == ([], ["p0", "q0"])


def test_a_choice_may_be_of_numbers():
    assert lines(lambda p: [torch.where(p > 0, 1.0, p)], (1,))[0] == [
        "const auto t0 = p0 > 0.0f;",
        "const auto t1 = choose(t0, 1.0f, p0);",
    ]


def test_what_is_worked_out_twice_is_defined_once():
    found, made = lines(lambda p, q: [p * q + 1, torch.exp(p * q), p * q + 1], (1,), (1,))
    assert found == [
        "const auto t0 = p0 * q0;",
        "const auto t1 = t0 + 1.0f;",
        "const auto t2 = exponential(t0);",
    ]
    assert made == ["t1", "t2", "t1"]


def test_a_tensor_given_twice_is_two_things():
    """Weights and both moments of a training are traced on the same tensors."""
    code, one = Code(), torch.zeros(2)
    made = trace(lambda a, b: [a - b], [one, one], [names("p", (2,)), names("q", (2,))], code)
    assert code.lines == ["const auto t0 = p0 - q0;", "const auto t1 = p1 - q1;"]
    assert flatten(made) == ["t0", "t1"]


def test_a_tensor_that_the_function_makes_or_brings_is_a_constant():
    brought = torch.tensor([0.5, -2.0])

    def function(p):
        return [p * brought + torch.ones(2) + torch.tensor([1.0, 2.0])]

    assert lines(function, (2,))[0] == [
        "const auto t0 = p0 * 0.5f;",
        "const auto t1 = p1 * -2.0f;",
        "const auto t2 = t0 + 1.0f;",
        "const auto t3 = t1 + 1.0f;",
        "const auto t4 = t2 + 1.0f;",
        "const auto t5 = t3 + 2.0f;",
    ]


def test_the_given_tensors_are_left_as_they_were():
    given = torch.ones(2)
    trace(lambda p: [p.requires_grad_() * 2], [given], [names("p", (2,))], Code())
    assert not given.requires_grad
    assert torch.equal(given, torch.ones(2))


# What is refused, by name


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (torch.sin, "aten.sin.default"),
        (lambda p: p.add_(1), "aten.add_.Tensor"),
        (lambda p: p * float(p[0]), "aten._local_scalar_dense.default"),
        (lambda p: torch.cumsum(p, 0), "aten.cumsum.default"),
        (lambda p: torch.add(p, p, alpha=2), "aten.add.Tensor with alpha"),
        (lambda p: torch.sub(p, p, alpha=2), "aten.sub.Tensor with alpha"),
        (lambda p: torch.rsub(p, 2.0, alpha=3), "aten.rsub.Scalar: "),
        (lambda p: p / (torch.ones(2) - 1), None),
        (lambda p: p * (torch.ones(2) / (torch.ones(2) - 1)), "aten.div.Tensor: "),
        (lambda p: p * torch.log(torch.ones(2) - 1), "aten.log.default: "),
        (lambda p: p * torch.exp(torch.ones(2) * 1000), "aten.exp.default: "),
        (lambda p: p * float("inf"), "the number inf"),
        (lambda p: p + torch.tensor([1.0, float("nan")]), "the number nan"),
    ],
)
def test_what_is_not_written_out_is_refused_and_named(function, named):
    code = Code()
    if named is None:  # by zero, as C++ divides
        trace(lambda p: [function(p)], [torch.ones(2)], [names("p", (2,))], code)
        assert code.lines == ["const auto t0 = p0 / 0.0f;", "const auto t1 = p1 / 0.0f;"]
        return
    with pytest.raises(UnsupportedError, match=re.escape(named)):
        trace(lambda p: [function(p)], [torch.ones(2)], [names("p", (2,))], code)


def test_literals_are_floats_of_c():
    assert [symbols.literal(x) for x in (1, 0.1, -3.0, True, 1e-38, 1e12, Name("t1"))] == [
        *("1.0f", "0.1f", "-3.0f", "1.0f", "1e-38f", "1000000000000.0f", "t1")
    ]
    assert [symbols.vector(x) for x in (2, Name("t1"))] == ["all(2.0f)", "t1"]
