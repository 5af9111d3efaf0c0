"""The adapters driven by foolbox and by ART themselves, over HTTP; skipped where a library is not installed."""

import numpy as np
import pytest

from attack.wire.adapters import art_classifier, foolbox_model
from attack.wire.client import Client
from model.labels import ABSTAIN, CLASSES
from tests.toy_endpoint import brightness_rule, serving

SIDE = 8
BICYCLE, BIRD = range(len(CLASSES))
pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore")]  # theirs are none of ours


def careful_rule(pixels: np.ndarray) -> list[str]:
    """By brightness, abstaining in the middle."""
    middle = [115 < picture.mean() < 145 for picture in pixels]
    return [ABSTAIN if unsure else label for unsure, label in zip(middle, brightness_rule(pixels), strict=True)]


@pytest.fixture
def dark_and_bright() -> np.ndarray:
    """(2, 3, S, S) float32 in [0, 1]: a bicycle and a bird."""
    levels = np.array([0.3, 0.7], np.float32)[:, None, None, None]
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, (2, 3, SIDE, SIDE))
    return (levels + noise).astype(np.float32)


@pytest.mark.parametrize("name", ["BoundaryAttack", "HopSkipJumpAttack"])
def test_foolbox_attacks_through_its_adapter(name, dark_and_bright):
    foolbox = pytest.importorskip("foolbox")
    torch = pytest.importorskip("torch")
    x = torch.from_numpy(dark_and_bright)
    criterion = foolbox.criteria.TargetedMisclassification(torch.tensor([BIRD, BICYCLE]))
    with serving(careful_rule, SIDE) as server, Client(server.url) as client:
        attack = getattr(foolbox.attacks, name)(steps={"BoundaryAttack": 250, "HopSkipJumpAttack": 3}[name])
        adversarial = attack.run(foolbox_model(client), x, criterion, starting_points=x.flip(0))
        _reached(client, adversarial.numpy(), dark_and_bright)
        assert server.pictures > 200


def test_art_attacks_through_its_adapter(dark_and_bright):
    evasion = pytest.importorskip("art.attacks.evasion")
    with serving(careful_rule, SIDE) as server, Client(server.url) as client:
        attack = evasion.HopSkipJump(art_classifier(client), targeted=True, max_iter=12, max_eval=200, verbose=False)
        adversarial = attack.generate(
            dark_and_bright, y=np.eye(3)[[BIRD, BICYCLE]], x_adv_init=dark_and_bright[::-1].copy()
        )
        _reached(client, adversarial, dark_and_bright)
        assert server.pictures > 200


def _reached(client: Client, adversarial: np.ndarray, x: np.ndarray) -> None:
    """The other class, not an abstention, and nearer than the start was."""
    pixels = np.rint(adversarial * 255).astype(np.uint8).transpose(0, 2, 3, 1)
    assert client.predict_batch(np.ascontiguousarray(pixels)) == ["bird", "bicycle"]
    lengths = np.linalg.norm((adversarial - x).reshape(2, -1), axis=1)
    start = np.linalg.norm((x[0] - x[1]).ravel())
    assert (lengths < 0.9 * start).all()
