"""Experiment files: which are executed, and that the process is afterwards as it was."""

import logging
import os
import sys
import warnings

import numpy as np
import pytest
from factories import make_folder

from qwerties.errors import UsageError
from qwerties.study import loading

ODD = """
import builtins, logging, os, sys, warnings
import numpy

os.umask(0o777)
builtins.sum = None
sys.stdout = sys.stderr = None
sys.setrecursionlimit(150)
os.chdir("/")
os.environ.pop("PATH")
os.environ["MLFLOW_TRACKING_URI"] = "sqlite:///elsewhere.db"
sys.path.insert(0, "/odd")
warnings.simplefilter("error")
logging.root.setLevel(logging.DEBUG)
logging.root.addHandler(logging.StreamHandler())
numpy.seterr(all="raise")
experiment = 3
"""


def test_a_file_changes_nothing_of_the_process(tmp_path):
    def state():
        umask = os.umask(0o022)
        os.umask(umask)
        streams = sys.stdout, sys.stderr, sys.getrecursionlimit(), sum
        log = logging.getLogger().level, list(logging.getLogger().handlers)
        folders = os.getcwd(), list(sys.path)  # noqa: PTH109
        return umask, streams, folders, dict(os.environ), list(warnings.filters), log, np.geterr()

    folder, before = make_folder(tmp_path / "study", odd=ODD), state()
    assert loading.load_experiments(folder, ["odd"], (int,)) == ({"odd": 3}, {})
    assert state() == before


def test_an_interrupt_that_a_file_raises_is_its_own(tmp_path):
    folder = make_folder(tmp_path / "study", odd="raise KeyboardInterrupt\n", sound="experiment = 3\n")
    declared, broken = loading.load_experiments(folder, ["odd", "sound"], (int,))
    assert (declared, broken) == ({"sound": 3}, {"odd": "KeyboardInterrupt: no message (line 1)"})


def test_the_closest_name_is_suggested_and_one_given_twice_counts_once():
    with pytest.raises(UsageError, match=r"must be one of depth, loss, got 'los' .did you mean loss"):
        loading.select_experiments(["los"], ["depth", "loss"])
    assert loading.select_experiments(["b", "a", "b"], ["a", "b", "c"]) == ["b", "a"]
    assert loading.select_experiments(["\u00e9t"], ["a", "e\u0301t"]) == ["e\u0301t"]
    assert loading.select_experiments([], ["a", "b"]) == ["a", "b"]
