"""Pictures drawn by a second process are those that this one would draw."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib.ticker import FuncFormatter

from qwerties.plotting import style as theme
from qwerties.report import figures as illustrations
from qwerties.report.drawing import PNG, SVG, WORTH_A_PROCESS, Drawing, drawing_elsewhere


def plot(number):
    fig, (ax,) = theme.figure(3, 2)
    ax.plot([0, number])
    ax.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"<{value:g}>")
    )  # not every pickler takes this
    return fig


def process(fig):
    return str(os.getpid()).encode()


def content_or_killed(parent):
    if os.getpid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
    return b"drawn"


def fails():
    raise ValueError("no such figure")


def test_the_same_bytes_wherever_they_are_drawn():
    here = [theme.svg(plot(i)) for i in range(WORTH_A_PROCESS)] + [theme.png(plot(7), 50)]
    with drawing_elsewhere():
        drawings = [Drawing(SVG, theme.svg, plot(i)) for i in range(WORTH_A_PROCESS)]
        drawings.append(Drawing(PNG, theme.png, plot(7), 50))
        late = Drawing(SVG, theme.svg, plot(8))
        assert [one.content for one in drawings] == here
    assert late.content == theme.svg(plot(8))  # asked for in the block, fetched after it
    assert [one.mime for one in drawings] == [SVG] * WORTH_A_PROCESS + [PNG]


def test_a_few_are_drawn_by_this_process():
    own = str(os.getpid()).encode()
    with drawing_elsewhere():
        few = [Drawing(SVG, process, None) for _ in range(WORTH_A_PROCESS - 1)]
        assert {one.content for one in few} == {own}
    assert Drawing(SVG, process, None).content == own


def test_many_are_drawn_by_another_and_an_error_is_the_drawing_s_own():
    own = str(os.getpid()).encode()
    with drawing_elsewhere():
        many = [Drawing(SVG, process, None) for _ in range(WORTH_A_PROCESS)]
        wrong = Drawing(SVG, fails)
        with pytest.raises(ValueError, match="no such figure"):
            _ = wrong.content
        assert own not in {one.content for one in many}
    with pytest.raises(ValueError, match="no such figure"):
        _ = Drawing(SVG, fails).content


@pytest.mark.slow
def test_a_killed_process_costs_no_picture():
    with drawing_elsewhere():
        drawings = [Drawing(SVG, content_or_killed, os.getpid()) for _ in range(WORTH_A_PROCESS + 1)]
        assert [one.content for one in drawings] == [b"drawn"] * len(drawings)


def test_a_block_inside_another_shares_its_process_and_may_start_it():
    own = str(os.getpid()).encode()
    with drawing_elsewhere(), drawing_elsewhere(at_once=True):
        with drawing_elsewhere():
            first = Drawing(SVG, process, None)
            assert first.content != own
        with drawing_elsewhere(at_once=True):
            second = Drawing(SVG, process, None)
        assert second.content == first.content


def built(number):
    """A figure built where it is drawn."""
    return plot(number)


def test_figures_may_be_built_where_they_are_drawn():
    here = [theme.svg(plot(3)), theme.png(plot(4), 50)]
    with drawing_elsewhere(at_once=True):
        svg = illustrations.planned_picture(built, 3, size=(3, 2), caption="c", alt="a")
        png = illustrations.planned_picture(built, 4, size=(3, 2), caption="c", alt="a", dots=50)
        assert [svg.drawing.content, png.drawing.content] == here
    assert [(one.drawing.mime, one.width, one.height) for one in (svg, png)] == [
        (SVG, 300, 200),
        (PNG, 300, 200),
    ]


SPARED = """
import os, signal, sys, time
from pathlib import Path
from qwerties.report.drawing import SVG, Drawing, _waiting, drawing_elsewhere

def is_spared(pid):
    told = dict(line.split(":\\t") for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return bool((int(told["SigBlk"], 16) | int(told["SigIgn"], 16)) >> (signal.SIGINT - 1) & 1)

with drawing_elsewhere(at_once=True):
    (child,) = _waiting.get()._process._processes
    looks = []
    for _ in range(30):  # each at another moment of its start
        looks.append(is_spared(child))
        time.sleep(0.02)
    print({*looks}, is_spared(os.getpid()))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell of signals")
@pytest.mark.slow
def test_ctrl_c_is_not_for_the_process_that_draws_from_its_first_moment():
    """In a process of its own, as loky's first child is another matter."""
    done = subprocess.run([sys.executable, "-c", SPARED], capture_output=True, text=True, check=True)
    assert done.stdout == "{True} False\n"
