"""A signal waits for a write in hand, but not for ever; a second one does not wait."""

import signal
import time

import pytest

from qwerties.execution import signals
from qwerties.execution.signals import Stopped, asked, finishing_first, heeding_signals


def write(*numbers, seconds=0.0, steps=None):
    """Get signals in the middle of a write, and one that is not put off after it."""
    with heeding_signals():
        with finishing_first():
            for number in numbers:
                signal.raise_signal(number)
            time.sleep(seconds)
            steps.append("written")
        signal.raise_signal(signal.SIGTERM)
        steps.append("not reached")


@pytest.mark.parametrize(
    ("numbers", "seconds", "expected", "status"),
    [
        ([], 0, ["written"], 143),
        ([signal.SIGINT], 0, ["written"], 130),
        ([signal.SIGTERM, signal.SIGINT], 0, [], 143),
        ([signal.SIGINT], 60, [], 130),
    ],
    ids=["none", "one", "two", "a write that hangs"],
)
def test_a_write_is_finished_first(monkeypatch, numbers, seconds, expected, status):
    monkeypatch.setattr(signals, "PATIENCE", 0.05)
    steps = []
    with pytest.raises(Stopped):
        write(*numbers, seconds=seconds, steps=steps)
    assert steps == expected
    assert asked() == status


def test_what_is_closed_after_a_stop_waits_for_no_earlier_signal():
    closed = []

    def stop():
        with heeding_signals():
            try:
                signal.raise_signal(signal.SIGINT)
            finally:
                with finishing_first():
                    closed.append("closed")
                closed.append("and more")

    with pytest.raises(Stopped):
        stop()
    assert closed == ["closed", "and more"]
