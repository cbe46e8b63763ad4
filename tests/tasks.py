"""Tasks for worker processes, in a module that imports nothing heavy: they are up sooner."""

import os
import signal
import time


def double(i, folder=None):
    if folder:
        (folder / str(i)).touch()
    return 2 * i


def die_once(i, folder):
    """Kill this process at task 3, the first time."""
    if i == 3 and not (folder / "died").exists():
        (folder / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * i


def die_always(i, folder):
    """Kill this process at task 3, and tell which processes were there."""
    (folder / f"{i}-{os.getpid()}").touch()
    if i == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * i


def fail(i):
    raise ArithmeticError(f"task {i}")


def threads():
    import torch

    return torch.get_num_threads()


def nap(seconds):
    time.sleep(seconds)
