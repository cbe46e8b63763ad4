"""Which device trains, how much of it a worker takes, and that a GPU's numbers are the CPU's."""

import numpy as np
import pytest
import torch

from qwerties.config import Config, Seeds
from qwerties.errors import UsageError
from qwerties.execution import devices
from qwerties.study.experiment import grid
from qwerties.training import trainer as training
from qwerties.training import vmapped as lifted

GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def test_auto_is_the_cpu_where_there_is_no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert [devices.choose(wanted) for wanted in ("cpu", "auto")] == ["cpu", "cpu"]
    assert [devices.choose("auto", there) for there in (True, False)] == ["cuda", "cpu"]
    with pytest.raises(UsageError, match=r"^--device cuda needs a CUDA device .* got none \(PyTorch "):
        devices.choose("cuda")
    with pytest.raises(UsageError, match=r"got none on every worker of the cluster$"):
        devices.choose("cuda", False)


def test_a_gpu_takes_as_many_networks_as_it_has_room_for(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2**30, 2**31))
    usual, blocks = training.BLOCK, []
    for config in (Config(), Config(hidden=(64, 64)), Config(epochs=1_000_000)):
        with devices.resident("cuda", config):
            blocks.append(training.BLOCK)
            assert training.BLOCK * devices.bytes_of(config) <= devices.ROOM * 2**30
            assert (
                training.BLOCK * 4 * config.epochs <= devices.ROOM * 2**30
            )  # its losses, which are all there
        assert usual == training.BLOCK
    assert blocks[0] > 5000 > blocks[2] > blocks[1] // 100
    with devices.resident("cuda", Config(), sharers=4):
        assert pytest.approx(blocks[0] / 4, abs=1) == training.BLOCK
    with devices.resident("cpu", Config()):
        assert usual == training.BLOCK


def test_a_gpu_has_blocks_of_few_sizes_within_its_memory():
    found = [lifted._size(n, 3000) for n in (1, 3, 512, 513, 2049, 3000)]
    assert found == [1, 4, 512, 1024, 3000, 3000]


@pytest.mark.gpu
@GPU
@pytest.mark.parametrize("compiled", [False, True])
def test_a_gpu_agrees_with_the_cpu(compiled):
    axes = {"loss": ("bce", "mse"), "activation": ("relu", "tanh"), "hidden": ((1,), (2,))}
    configs = [*grid(Config(epochs=10), **axes), Config(epochs=10, optimizer="adam")]
    cpu, gpu = (
        training.train(configs, Seeds(0, 600), compiled=compiled, device=device) for device in ("cpu", "cuda")
    )
    for one, other in zip(cpu, gpu, strict=True):
        np.testing.assert_allclose(other.losses, one.losses, atol=1e-5, rtol=1e-5)
        for name, value in one.weights.items():
            np.testing.assert_allclose(other.weights[name], value, atol=1e-4, rtol=1e-4)
