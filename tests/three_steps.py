"""Float64 steps of the trainer on some processes: `torchrun ... three_steps.py OUT` leaves what they did in OUT."""

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


def three_steps(ranks: Ranks) -> dict[str, torch.Tensor]:
    """Weights, statistics, last gradients and the loss of each step."""
    torch.manual_seed(0)
    step = TrainStep(PixelClassifier(CONFIG.architecture).double(), CONFIG, torch.device("cpu"), ranks)
    step.network.train()
    x = torch.rand(8, 3, 32, 32, generator=generator_of(1), dtype=torch.float64)
    y, rows = torch.arange(8) % 2, ranks.rows(8)
    phase = Phase(1e-3, CONFIG.loss.epsilon, CONFIG.loss.step_size, 1.0, full_strength=True)
    weights = dict(step.network.named_parameters())
    losses: dict[str, torch.Tensor] = {}
    for number in range(3):
        step.twin.refresh()
        step.network.zero_grad()
        views = ranks.generator_of(8, CONFIG.seed, "views", number)
        loss, figures = objective(step.trained, step.attacked, x[rows], y[rows], CONFIG, phase, views)
        loss.backward()
        ranks.average_([*(weight.grad for weight in weights.values() if weight.grad is not None), *figures.values()])
        losses |= {f"{name} of step {number}": value for name, value in figures.items()}
        with torch.no_grad():
            for weight in weights.values():
                assert weight.grad is not None
                weight.sub_(1e-3 * weight.grad)
    gradients = {f"gradient of {name}": weight.grad for name, weight in weights.items() if weight.grad is not None}
    return {**step.network.state_dict(), **gradients, **losses}


if __name__ == "__main__":
    torch.set_num_threads(1)
    with joined(torch.device("cpu")) as ranks:
        found = three_steps(ranks)
        if ranks.first:
            torch.save(found, sys.argv[1])
