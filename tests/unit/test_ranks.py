"""Which GPU a process takes, and that messages go from it, without one: what torch is told stands in for the device."""

import pytest
import torch
import torch.distributed as dist

from model.errors import ConfigError
from train.ranks import joined, own_device

pytestmark = pytest.mark.unit


@pytest.fixture
def told(monkeypatch):
    """What a process is told that torchrun started as the second on a machine with two GPUs."""
    calls = []
    for name, value in {"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: calls.append(("set_device", device)))
    monkeypatch.setattr(dist, "init_process_group", lambda backend, **said: calls.append((backend, said["device_id"])))
    monkeypatch.setattr(dist, "new_group", lambda **said: calls.append((said["backend"], None)))
    monkeypatch.setattr(dist, "get_rank", lambda: 3)
    for name in ("barrier", "destroy_process_group"):
        monkeypatch.setattr(dist, name, lambda: None)
    return calls


def test_nccl_speaks_from_the_gpu_of_the_local_rank(told):
    """Without it every process of a machine would send from its first GPU, and NCCL would wait for ever."""
    with joined(own_device("cuda")) as ranks:
        assert (ranks.rank, ranks.world) == (3, 4)
    own = torch.device("cuda", 1)
    assert told == [("set_device", own), ("nccl", own), ("gloo", None)]


def test_gloo_takes_no_gpu(told):
    with joined(own_device("cpu")):
        pass
    assert told == [("gloo", None), ("gloo", None)]


def test_more_processes_than_gpus_are_one_line(told, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ConfigError, match="process 2 of this machine, which has 2 GPUs; lower --nproc-per-node"):
        own_device("cuda")
