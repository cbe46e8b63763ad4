"""A process is told from one that has ended, and from a later one that has its number."""

import os
import socket
import subprocess

from qwerties.execution.processes import is_gone, is_local, this_process

HOST = socket.gethostname()


def test_this_process_is_here_and_lives():
    assert this_process().startswith(f"{HOST}:{os.getpid()}:")
    assert is_local(this_process())
    assert not is_gone(this_process())


def test_a_process_that_ended_is_gone():
    with subprocess.Popen(["true"]) as process:
        pass
    assert is_gone(f"{HOST}:{process.pid}")
    assert is_gone(f"{HOST}:{process.pid}:123")


def test_another_process_with_its_number_is_not_taken_for_it():
    assert is_gone(f"{HOST}:{os.getpid()}:1")


def test_nothing_is_known_of_other_hosts_nor_of_what_cannot_be_read():
    with subprocess.Popen(["true"]) as process:
        pass
    for told in (f"another-{HOST}:{process.pid}", f"{HOST}:x", f"{HOST}:-1", HOST, ""):
        assert not is_gone(told), told
    assert is_gone(f"{HOST}:{10**30}")  # no process has such a number
    assert not is_local(f"another-{HOST}:1")


def test_a_process_of_another_container_with_this_host_s_name_is_not_local():
    host, pid, start, namespace = this_process().split(":")
    assert host == HOST
    assert is_local(this_process())
    assert not is_gone(this_process())
    assert not is_local(f"{host}:{pid}:{start}:{int(namespace or 1) + 1}")
    assert not is_gone(f"{host}:999999999:{start}:{int(namespace or 1) + 1}")
    assert is_gone(f"{host}:{pid}:{start}1:{namespace}")  # another process has its number
    assert is_gone(f"{host}:999999999:1")  # as older versions wrote it
