"""One float64 step of the trainer on some processes: `torchrun ... one_step.py OUT` leaves its gradients in OUT."""

import sys

import torch

from model.architecture import PixelClassifier
from train.config import parse_config
from train.objective import objective
from train.randomness import generator_of
from train.ranks import Ranks, joined
from train.schedule import Phase
from train.step import TrainStep

CONFIG = parse_config(
    {
        "epochs": 1,
        "batch_size": 8,
        "precision": "float32",
        "architecture": {"backbone": "resnet18"},
        "loss": {"perturb_steps": 2, "epsilon": "8/255", "step_size": "4/255"},
        "spatial": {"worst_of": 2, "least_scale": 0.8},
    },
    "one step",
)


def gradients_of_two_passes(ranks: Ranks) -> dict[str, torch.Tensor]:
    """Gradients, statistics and figures after two passes over one batch."""
    torch.manual_seed(0)
    step = TrainStep(PixelClassifier(CONFIG.architecture).double(), CONFIG, torch.device("cpu"), ranks)
    step.network.train()
    x = torch.rand(8, 3, 32, 32, generator=generator_of(1), dtype=torch.float64)
    y, rows = torch.arange(8) % 2, ranks.rows(8)
    phase = Phase(1e-3, CONFIG.loss.epsilon, CONFIG.loss.step_size, 1.0)
    figures: dict[str, torch.Tensor] = {}
    for number in range(2):
        views = ranks.generator_of(8, CONFIG.seed, "views", number)
        loss, figures = objective(step.trained, step.attacked, x[rows], y[rows], CONFIG, phase, views)
        loss.backward()
    gradients = {name: weight.grad for name, weight in step.network.named_parameters() if weight.grad is not None}
    ranks.average_([*gradients.values(), *figures.values()])
    return {**gradients, **dict(step.network.named_buffers()), **figures}


if __name__ == "__main__":
    torch.set_num_threads(1)
    with joined(torch.device("cpu")) as ranks:
        found = gradients_of_two_passes(ranks)
        if ranks.first:
            torch.save(found, sys.argv[1])
