"""Experiment files: which are executed, and that the process is afterwards as it was."""

import os
import sys
import warnings

import pytest
from factories import make_folder

from qwerties.errors import UsageError
from qwerties.study import loading

ODD = """
import os, sys, warnings

os.chdir("/")
os.environ.pop("PATH")
os.environ["MLFLOW_TRACKING_URI"] = "sqlite:///elsewhere.db"
sys.path.insert(0, "/odd")
warnings.simplefilter("error")
experiment = 3
"""


def test_a_file_changes_nothing_of_the_process(tmp_path):
    def state():
        return os.getcwd(), dict(os.environ), list(sys.path), list(warnings.filters)  # noqa: PTH109

    folder, before = make_folder(tmp_path / "study", odd=ODD), state()
    assert loading.load_experiments(folder, ["odd"], (int,)) == ({"odd": 3}, {})
    assert state() == before


def test_the_closest_name_is_suggested_and_one_given_twice_counts_once():
    with pytest.raises(UsageError, match=r"must be one of depth, loss, got 'los' .did you mean loss"):
        loading.select_experiments(["los"], ["depth", "loss"])
    assert loading.select_experiments(["b", "a", "b"], ["a", "b", "c"]) == ["b", "a"]
    assert loading.select_experiments([], ["a", "b"]) == ["a", "b"]
