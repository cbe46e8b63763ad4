"""The examples in the docstrings of the public face run."""

import doctest
import importlib

import pytest

MODULES = (
    "qwerties.config",
    "qwerties.stats.compare",
    "qwerties.study.experiment",
    "qwerties.training.trainer",
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0


def test_every_public_name_is_there_and_documented():
    import qwerties

    for name in qwerties.__all__:
        value = getattr(qwerties, name)
        assert name == "DEFAULT" or value.__doc__
