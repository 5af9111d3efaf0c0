"""What processes compare before they begin, and which GPU each takes, without one: what torch is told stands in."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from model.errors import ConfigError, DataError
from tests.runs import RUN
from train.config import parse_config
from train.loop import Trainer
from train.ranks import Ranks, joined, own_device

pytestmark = pytest.mark.unit
TORCHRUN = {"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
TABLE = RUN | {"architecture": {"backbone": "wrn_16_1"}}


class OneOfTwo(Ranks):
    """A process whose other one has sent `theirs`, row by row; keeps what it sends itself."""

    def __init__(self, theirs: list[Tensor]) -> None:
        super().__init__(rank=0, world=2)
        self.theirs, self.sent = iter(theirs), []

    def gather(self, row: Tensor) -> Tensor:
        self.sent.append(row)
        return torch.stack([row, next(self.theirs, row)])

    @contextmanager
    def one_after_the_first(self) -> Iterator[None]:
        yield


def sent_before_the_first_step(data: Path, out: Path, table: dict[str, Any], theirs: list[Tensor]) -> list[Tensor]:
    ranks = OneOfTwo(theirs)
    Trainer(parse_config(table, "test"), data, out, torch.device("cpu"), ranks).feed.close()
    return ranks.sent


@pytest.mark.parametrize(
    ("mine", "split", "named"),
    [
        ({"optimizer": {"learning_rate": 1e-4}}, None, "settings"),
        ({"loss": RUN["loss"] | {"beta": 1}}, None, "settings"),
        ({"seed": 1}, None, "settings"),
        ({}, "train", "train photos"),
        ({}, "val", "val photos"),
        ({"threads": 2}, None, None),
    ],
)
def test_processes_that_were_given_different_things_do_not_begin(mine, split, named, tiny_photos, tmp_path):
    sent = sent_before_the_first_step(tiny_photos, tmp_path, TABLE, [])
    data = shutil.copytree(tiny_photos, tmp_path / "data")
    if split:
        (data / split / "bird" / "000.png").rename(data / split / "bicycle" / "of another class.png")
    if named is None:
        assert all(map(torch.equal, sent_before_the_first_step(data, tmp_path, TABLE | mine, sent), sent))
    else:
        with pytest.raises(DataError, match=f"do not have the same {named}; give all of them the same TOML, --data"):
            sent_before_the_first_step(data, tmp_path, TABLE | mine, sent)


@pytest.mark.parametrize(("row", "named"), [(3, "weights to start from"), (4, "step to resume from")])
def test_what_they_begin_from_is_compared_too(row, named, tiny_photos, tmp_path):
    sent = sent_before_the_first_step(tiny_photos, tmp_path, TABLE, [])
    sent[row] = sent[row] + 1
    with pytest.raises(DataError, match=f"do not have the same {named}"):
        sent_before_the_first_step(tiny_photos, tmp_path, TABLE, sent)


@pytest.fixture
def told(monkeypatch):
    """What a process is told that torchrun started as the second on a machine with two GPUs."""
    calls = []
    for name, value in TORCHRUN.items():
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


@pytest.mark.parametrize("world", ["1", "4", None])
@pytest.mark.parametrize("local", ["x", "-1", "", "1.0", None])
def test_a_gpu_that_nobody_named_is_one_line(local, world, told, monkeypatch):
    monkeypatch.setenv("RANK", "0")
    for name, value in {"WORLD_SIZE": world, "LOCAL_RANK": local}.items():
        monkeypatch.delenv(name) if value is None else monkeypatch.setenv(name, value)
    if local is None and world != "4":
        assert own_device("cuda") == torch.device("cuda", 0), "alone it is the first"
        return
    with pytest.raises(ConfigError, match=rf"^LOCAL_RANK={local or ''}: start several processes with torchrun"):
        own_device("cuda")


def test_one_of_several_that_does_not_know_their_number_is_one_line(told, monkeypatch):
    """It would train alone, in silence, and write no figures: the first process alone does these."""
    for world in (None, "1"):
        monkeypatch.delenv("WORLD_SIZE") if world is None else monkeypatch.setenv("WORLD_SIZE", world)
        for start in (lambda: own_device("cuda"), lambda: joined(torch.device("cpu")).__enter__()):
            with pytest.raises(ConfigError, match=rf"^WORLD_SIZE={world or ''} RANK=3 .*start several processes"):
                start()


@pytest.mark.parametrize(
    ("name", "value"),
    [("RANK", ""), ("RANK", "4"), ("RANK", "x"), ("WORLD_SIZE", "abc"), ("WORLD_SIZE", "0"), ("MASTER_ADDR", "")],
)
def test_what_torchrun_would_not_have_set_is_one_line(name, value, told, monkeypatch):
    monkeypatch.setenv(name, value)
    with (
        pytest.raises(ConfigError, match=rf"{name}={value}[ :].*start several processes with torchrun"),
        joined(torch.device("cpu")),
    ):
        pytest.fail("there is nobody to join")
    assert told == []
