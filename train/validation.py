"""How good a network is on `val`: clean, under PGD, and under the warm-up's order of attack (a random map, then PGD).

N photos, S side of the network's input.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attack.transforms.spatial import SpatialRange
from model.console import Report, unseen
from model.decision import calibrate, confidence
from train.cache import PhotoCache
from train.config import LossConfig
from train.randomness import generator_of
from train.ranks import ALONE, Ranks
from train.trades import ascend, attack_mode
from train.views import random_view

BATCH = 50
CPU_PIXELS = BATCH * 64**2
"""Of a batch on a CPU: there more photos at once cost memory, 100 MB each at 224 px, and gain no speed."""
PGD_PASSES = 2
"""What a step of PGD costs in forward passes: one, and the gradient of the pixels (docs/trades.md)."""
Change = Callable[[Tensor, Tensor, int], Tensor]
"""(N, 3, S, S) in [0, 1], (N,) classes and the batch's number -> (N, 3, S, S)."""


@dataclass(frozen=True)
class Accuracy:
    """Shares in [0, 1] of right answers, over all photos and over the most confident 80 % (the kit's rule)."""

    at_100: float
    at_80: float


@dataclass(frozen=True)
class Validation:
    """Accuracies of one network on one set of photos."""

    natural: Accuracy
    robust: Accuracy
    """Under a random map, then PGD."""
    photos: int
    attacked: int
    pgd: Accuracy | None = None
    """Under PGD alone, where it was asked for."""

    def flat(self) -> dict[str, float]:
        """`{"natural_at_100": ..., ...}` for logs."""
        parts = {"natural": self.natural, "robust": self.robust} | ({"pgd": self.pgd} if self.pgd else {})
        return {f"{name}_{key}": round(value, 4) for name, part in parts.items() for key, value in asdict(part).items()}

    @property
    def counts(self) -> dict[str, int]:
        """Of how many photos the natural accuracies are, and of how many the others; for logs."""
        return {"photos": self.photos, "attacked": self.attacked}

    def __str__(self) -> str:
        """In a line: accuracies, and of how many photos they are."""
        shown = {name: f"{name} {value:.1%}" for name, value in self.flat().items()}
        natural = [text for name, text in shown.items() if name.startswith("natural")]
        attacked = [text for name, text in shown.items() if not name.startswith("natural")]
        return f"{', '.join(natural)} of {self.photos} photos; {', '.join(attacked)} of {self.attacked} attacked"


def validate(
    network: nn.Module,
    photos: PhotoCache,
    loss: LossConfig,
    span: SpatialRange,
    *,
    attacked: int,
    steps: int,
    unmapped: bool = False,
    ranks: Ranks = ALONE,
    report: Report = unseen,
) -> Validation:
    """Natural accuracy on all photos, robust accuracy on `attacked` of them, always the same ones (`_balanced`).

    Each attacked photo goes through one random map of the span, then PGD on the cross-entropy with the loss's norm and
    full epsilon, `steps` steps of 2.5 epsilon / steps from a random start. `unmapped`: then also without a map.
    `report` hears how much of `validation_work` is done.
    """
    some = _balanced(photos.labels, attacked)
    done = 0

    def measured(indices: Tensor, changed: Change, cost: int) -> Accuracy:
        def advance(count: int) -> None:
            nonlocal done
            done += count * cost
            report(done)

        return accuracy(_logits(network, photos, indices, changed, ranks, advance), photos.labels[indices])

    def under_pgd(span: SpatialRange) -> Accuracy:
        def attack(x: Tensor, y: Tensor, number: int) -> Tensor:
            generator = generator_of("validation", number, device=x.device)
            return _pgd(network, random_view(x, span, generator), y, loss, steps, generator)

        return measured(some, attack, PGD_PASSES * steps + 1)

    natural = measured(torch.arange(len(photos)), _unchanged, 1)
    pgd = under_pgd(span.scaled(0)) if unmapped else None
    return Validation(natural, under_pgd(span), len(photos), len(some), pgd)


def validation_work(photos: PhotoCache, attacked: int, steps: int) -> int:
    """Forward passes, or what takes as long, of `validate` with and without a map."""
    return len(photos) + 2 * len(_balanced(photos.labels, attacked)) * (PGD_PASSES * steps + 1)


def natural_logits(network: nn.Module, photos: PhotoCache, ranks: Ranks = ALONE) -> Tensor:
    """(N, classes) logits of all photos, on the CPU."""
    return _logits(network, photos, torch.arange(len(photos)), _unchanged, ranks)


def _unchanged(x: Tensor, _y: Tensor, _number: int) -> Tensor:
    return x


def _logits(
    network: nn.Module,
    photos: PhotoCache,
    indices: Tensor,
    changed: Change,
    ranks: Ranks,
    advance: Callable[[int], None] = lambda _: None,
) -> Tensor:
    """(n, classes) logits of the changed photos; the processes take the batches in turn, and all get all of them.

    `advance` hears of so many photos more, those of other processes too.
    """
    device = next(network.parameters()).device
    logits = torch.zeros(len(indices), len(photos.classes))
    for number, part in enumerate(torch.split(torch.arange(len(indices)), _batch_size(photos.size, device))):
        if number % ranks.world == ranks.rank:
            x, y = _batch(photos, indices[part], device)
            logits[part] = network_logits(network, changed(x, y, number))
        advance(len(part))
    return ranks.sum_(logits)


def _batch_size(side: int, device: torch.device) -> int:
    """Photos of side x side pixels that are classified, and attacked, at once."""
    return BATCH if device.type == "cuda" else max(1, min(BATCH, CPU_PIXELS // side**2))


@torch.no_grad()
def network_logits(network: nn.Module, x: Tensor) -> Tensor:
    """(N, 3, H, W) -> (N, classes) float32 logits on the CPU, in the network's present mode."""
    logits: Tensor = network(x)
    return logits.float().cpu()


def accuracy(logits: Tensor, y: Tensor) -> Accuracy:
    """(N, classes) logits and (N,) classes -> accuracies; of equal logits the first counts, as in the kit."""
    right = logits.argmax(dim=1) == y
    covered = confidence(logits) >= calibrate(logits, 0.8)
    return Accuracy(right.float().mean().item(), right[covered].float().mean().item())


def _pgd(network: nn.Module, x: Tensor, y: Tensor, loss: LossConfig, steps: int, generator: torch.Generator) -> Tensor:
    with attack_mode(network):
        return ascend(
            lambda moved: F.cross_entropy(network(moved), y, reduction="sum"),
            x,
            epsilon=loss.epsilon,
            step_size=2.5 * loss.epsilon / steps,
            steps=steps,
            distance=loss.distance,
            generator=generator,
            start_noise=loss.epsilon / 2 if loss.distance == "l_inf" else loss.epsilon / x[0].numel() ** 0.5,
        )


def _balanced(labels: Tensor, count: int) -> Tensor:
    """Indices of `count` photos spread evenly over each class, all where there are no more.

    As many of each class; a class that holds fewer gives all, and the larger ones what it lacks.
    """
    places = [(labels == label).nonzero().flatten() for label in range(int(labels.max()) + 1)]
    rows: dict[int, Tensor] = {}
    left = count
    for label in sorted(range(len(places)), key=lambda label: len(places[label])):
        own = places[label]
        wanted = min(left // (len(places) - len(rows)), len(own))
        rows[label] = own[torch.linspace(0, len(own) - 1, wanted).long()]
        left -= wanted
    return torch.cat([rows[label] for label in range(len(places))])


def _batch(photos: PhotoCache, indices: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    return photos.take(indices).to(device).float() / 255, photos.labels[indices].to(device)
