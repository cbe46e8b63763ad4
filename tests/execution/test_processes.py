"""A process is told from one that has ended, and from a later one that has its number."""

import os
import socket
import subprocess

import pytest

from qwerties.execution import processes
from qwerties.execution.processes import is_gone, is_local, process_words, this_process

HOST = socket.gethostname()


def test_this_process_is_here_and_lives():
    assert this_process().startswith(f"{HOST}:{os.getpid()}:")
    assert is_local(this_process())
    assert not is_gone(this_process())


def test_a_process_in_words_is_its_number_and_host_whatever_the_tag_holds():
    assert process_words(this_process()) == f"process {os.getpid()} on {HOST}"
    assert process_words("") == process_words("host") == process_words(":1") == "an unknown process"
    assert process_words("a\x1b[2J:\n1:2:3") == "process 1 on a\ufffd[2J"


def test_a_process_that_ended_is_gone_also_before_its_parent_has_asked():
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it ended, and is still listed
    assert is_gone(f"{HOST}:{process.pid}")
    process.wait()
    assert is_gone(f"{HOST}:{process.pid}")
    assert is_gone(f"{HOST}:{process.pid}:123")


def test_another_process_with_its_number_is_not_taken_for_it():
    host, pid, start, machine = this_process().split(":")
    assert is_gone(f"{host}:{pid}:{float(start) - 100}:{machine}")
    assert not is_gone(f"{host}:{pid}:{float(start) + 1}:{machine}")  # the system's clock was adjusted


@pytest.mark.parametrize("name", [f"another-{HOST}:999999999", f"{HOST}:x", f"{HOST}:-1", HOST, ""])
def test_nothing_is_known_of_other_hosts_nor_of_what_cannot_be_read(name):
    assert not is_gone(name)


def test_no_process_has_a_number_beyond_the_system_s():
    assert is_gone(f"{HOST}:{10**30}")
    assert not is_gone(f"{HOST}:{os.getpid()}:soon")  # somebody else's tag


def test_containers_and_machines_of_one_host_name_are_told_apart(monkeypatch):
    here = this_process()
    host, _, start, machine = here.split(":")
    other = machine[:-1] + ("1" if machine[-1] != "1" else "2")
    assert not is_local(f"{host}:999999999:{start}:{other}")
    assert not is_gone(f"{host}:999999999:{start}:{other}")
    assert is_gone(f"{host}:999999999:{start}:{machine}")
    monkeypatch.setattr(processes, "_machine", lambda: other)  # as the other one sees this process
    assert not is_local(here)
    assert not is_gone(here)
