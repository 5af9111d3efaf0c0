"""What a run that was gone on with otherwise tells of its way."""

import hashlib
import io

import pytest
import torch

from train.checkpoint import FILE, Checkpoint, read_checkpoint
from train.config import parse_config
from train.provenance import legs_of

pytestmark = pytest.mark.unit


def test_each_change_of_rate_or_beta_begins_a_leg():
    def gone_on(legs, step, learning_rate, beta):
        table = {"epochs": 1, "optimizer": {"learning_rate": learning_rate}, "loss": {"beta": beta}}
        return legs_of(legs, step, parse_config(table, "test"))

    legs = gone_on((), 0, 1e-3, 6)
    assert legs == [(0, 1e-3, 6.0)]
    assert gone_on(legs, 4, 1e-3, 6) == legs, "nothing has changed"
    slower = gone_on(legs, 4, 1e-4, 6)
    assert slower == [(0, 1e-3, 6.0), (4, 1e-4, 6.0)]
    assert gone_on(slower, 4, 1e-4, 3) == [(0, 1e-3, 6.0), (4, 1e-4, 3.0)], "no step was made with beta = 6"
    assert gone_on(slower, 4, 1e-3, 6) == legs
    assert gone_on((), 9, 1e-4, 6) == [(9, 1e-4, 6.0)], "of a checkpoint that told nothing"


def test_a_checkpoint_of_an_older_version_is_read(tmp_path):
    old = vars(Checkpoint(5, {}, {}, {}, {}, (0.5, 0.5), 0, "print"))
    del old["legs"]
    buffer = io.BytesIO()
    torch.save(old, buffer)
    (tmp_path / FILE).write_bytes(buffer.getvalue() + hashlib.sha256(buffer.getvalue()).digest())
    assert read_checkpoint(tmp_path).legs == ()
