"""The model's parts: network, decision rule, pixels, bundle."""

import json
import os

import numpy as np
import pytest
import torch
from PIL import Image

from attack.wire.messages import encoded as encode_for_the_wire
from model.architecture import Architecture, PixelClassifier
from model.bundle import BundleMetadata, load_bundle, save_bundle
from model.decision import calibrate, decide
from model.errors import BundleError, DataError, ImageError, ImageTooLargeError
from model.files import fitting
from model.photos import find_photos
from model.pixels import load_square, pixels_sha256, read_picture, to_square
from model.vision import torchvision
from tests.pictures import encoded

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("bundle")
    network = PixelClassifier(Architecture(backbone="resnet18")).eval()
    save_bundle(path, network, BundleMetadata(abstain_below=0.25, input_size=64))
    return path, network


@pytest.mark.parametrize("architecture", [Architecture(), Architecture(backbone="resnet18", activation="silu")])
@pytest.mark.parametrize("size", [32, 50])
def test_any_input_size_gives_two_logits(architecture, size):
    network = PixelClassifier(architecture).eval()
    assert network(torch.rand(2, 3, size, size)).shape == (2, 2)
    has_relu = any(isinstance(module, torch.nn.ReLU) for module in network.modules())
    assert has_relu == (architecture.activation == "relu")


def test_normalisation_is_inside():
    network = PixelClassifier(Architecture(backbone="resnet18")).eval()
    x = torch.rand(1, 3, 64, 64)
    outside = network.backbone(
        torchvision.transforms.functional.normalize(x, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    torch.testing.assert_close(network(x), outside)


def test_exposure_of_the_photo_makes_light_and_contrast_nearly_free():
    network = PixelClassifier(Architecture(backbone="resnet18", exposure="photo")).eval()
    fixed = PixelClassifier(Architecture(backbone="resnet18")).eval()
    fixed.load_state_dict(network.state_dict())
    x = torch.rand(4, 3, 64, 64)
    dim = 0.3 + 0.5 * x
    assert (network(x) - network(dim)).abs().max() < 0.1 * (fixed(x) - fixed(dim)).abs().max()
    blank = network(torch.full((1, 3, 64, 64), 0.5).requires_grad_())
    assert blank.isfinite().all()


def test_local_exposure_leaves_little_of_a_cast_of_pale_colours_and_of_a_cloud():
    """What the backbone sees of a changed picture, beside what it sees under `photo`."""
    local, photo = (PixelClassifier(Architecture(backbone="resnet18", exposure=name)) for name in ("local", "photo"))
    local.backbone = photo.backbone = torch.nn.Identity()
    x = 0.2 + 0.2 * torch.rand(4, 3, 64, 64)
    cast = torch.tensor([0.3, 0.0, 0.1]).view(1, 3, 1, 1)
    cloud = torch.linspace(0, 0.5, 64).view(1, 1, 1, 64)
    for changed, share in ((x + cast, 1e-4), (0.6 * x + cast, 0.2), (x + cloud, 0.6)):
        assert (local(changed) - local(x)).norm() < share * (photo(changed) - photo(x)).norm()
    assert local(torch.full((1, 3, 64, 64), 0.5)).isfinite().all()


def test_the_more_light_local_exposure_removes_the_less_is_left_of_a_cloud():
    x = 0.2 + 0.2 * torch.rand(4, 3, 64, 64)
    cloud = torch.linspace(0, 0.5, 64).view(1, 1, 1, 64)
    left = []
    for share in (0.5, 0.7, 1.0):
        network = PixelClassifier(Architecture(backbone="resnet18", exposure="local", light_removed=share))
        network.backbone = torch.nn.Identity()
        left.append(float((network(x + cloud) - network(x)).norm()))
    assert left[0] > 1.3 * left[1] > 1.3**2 * left[2]


def test_the_lower_the_floor_the_less_a_pale_picture_differs_from_a_strong_one():
    x = torch.rand(4, 3, 64, 64)
    pale = 0.4 + 0.2 * x
    left = []
    for floor in (0.1, 0.05, 0.01):
        network = PixelClassifier(Architecture(backbone="resnet18", exposure="photo", contrast_floor=floor))
        network.backbone = torch.nn.Identity()
        left.append(float((network(pale) - network(x)).norm()))
        assert network(torch.full((1, 3, 64, 64), 0.5)).isfinite().all()
    assert left[0] > 1.5 * left[1] > 10 * left[2]


def test_a_fresh_network_ranks_by_margin():
    logits = PixelClassifier(Architecture(backbone="resnet18")).eval()(torch.rand(4, 3, 64, 64))
    torch.testing.assert_close(logits.sum(dim=1), torch.zeros(4), atol=1e-4, rtol=0)


def test_decision_rule_ties_and_non_finite():
    logits = torch.tensor([[2.0, 1.0], [1.0, 2.0], [0.4, 0.1], [1.0, 1.0], [float("nan"), 3.0], [float("inf"), 0.0]])
    assert decide(logits, 0.5) == ["bicycle", "bird", "abstain", "bicycle", "abstain", "abstain"]


@pytest.mark.parametrize(("coverage", "covered"), [(0.8, 8), (1.0, 10), (0.05, 1)])
def test_calibration_covers_the_share(coverage, covered):
    logits = torch.stack([torch.arange(10.0), torch.zeros(10)], dim=1)
    threshold = calibrate(logits, coverage)
    assert sum(label != "abstain" for label in decide(logits, threshold)) == covered


def test_bundle_round_trip(bundle):
    path, network = bundle
    classifier = load_bundle(path)
    x = torch.rand(3, 3, 64, 64)
    assert torch.equal(classifier(x), network(x))
    assert classifier.input_size == 64
    assert not classifier.training
    assert classifier.decide(torch.tensor([[0.2, 0.1], [0.3, 0.1]])) == ["abstain", "bicycle"]


def test_half_precision_bundle_loads_as_float32(bundle, tmp_path):
    _, network = bundle
    save_bundle(tmp_path, network, BundleMetadata(abstain_below=0.0), torch.float16)
    classifier = load_bundle(tmp_path)
    assert all(weight.dtype == torch.float32 for weight in classifier.parameters())
    assert (tmp_path / "model.safetensors").stat().st_size < 24e6


def _flip_byte(path, at):
    content = bytearray((path / "model.safetensors").read_bytes())
    content[at] ^= 1
    (path / "model.safetensors").write_bytes(content)


def _replace(file):
    file.unlink()
    return file


def _edit(path, **changes):
    metadata = json.loads((path / "bundle.json").read_text())
    (path / "bundle.json").write_text(json.dumps(metadata | changes))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: _flip_byte(path, -1), "truncated or altered"),
        (lambda path: _flip_byte(path, 100), "truncated or altered"),
        (lambda path: (path / "model.safetensors").write_bytes(b""), "truncated or altered"),
        (lambda path: (path / "model.safetensors").unlink(), "no such file"),
        (lambda path: (path / "bundle.json").unlink(), "no such file"),
        (lambda path: (path / "bundle.json").write_text("{"), "bundle.json"),
        (lambda path: _replace(path / "bundle.json").symlink_to("/dev/null"), "bundle.json: is no regular file"),
        (
            lambda path: _replace(path / "model.safetensors").symlink_to("/dev/null"),
            "model.safetensors: is no regular file",
        ),
        (lambda path: os.truncate(path / "bundle.json", 2**40), "1099511627776 bytes; at most 16777216 are read"),
        (lambda path: os.truncate(path / "model.safetensors", 2**40), "1099511627776 bytes; at most 1073741824"),
        (lambda path: _edit(path, format_version=99), "format_version 99"),
        (lambda path: _edit(path, classes=["bird", "bicycle"]), "classes are"),
        (lambda path: _edit(path, pickle="x"), "pickle"),
        (lambda path: _edit(path, architecture={"backbone": "resnet34"}), "not weights of this architecture"),
    ],
)
def test_a_damaged_bundle_is_refused_in_one_line(bundle, tmp_path, damage, said):
    _, network = bundle
    save_bundle(tmp_path, network, BundleMetadata(abstain_below=0.0))
    damage(tmp_path)
    with pytest.raises(BundleError, match=said) as error:
        load_bundle(tmp_path)
    assert "\n" not in str(error.value)
    assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize("size", [(300, 200), (200, 301), (224, 224), (100, 57)])
def test_squares_equal_torchvision_on_pillow(size):
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    theirs = torchvision.transforms.CenterCrop(224)(torchvision.transforms.Resize(224)(picture))
    assert np.array_equal(to_square(picture, 224), np.asarray(theirs))


def test_pictures_of_every_kind_become_rgb():
    red = Image.new("RGB", (60, 40), (255, 0, 0))
    for kind, options in (("PNG", {}), ("BMP", {}), ("WEBP", {"lossless": True}), ("JPEG", {"quality": 95})):
        assert abs(load_square(encoded(red, kind, **options), 32).astype(int) - (255, 0, 0)).max() <= 3
    clear = Image.new("RGBA", (40, 40), (255, 0, 0, 0))
    assert (load_square(encoded(clear, "PNG"), 32) == 255).all(), "transparency lies over white"
    deep = Image.fromarray(np.full((40, 40), 40000, np.uint16))
    assert (load_square(encoded(deep, "PNG"), 32) == 40000 >> 8).all(), "16 bits are scaled, not clipped"
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = read_picture(encoded(red, "JPEG", exif=exif))
    assert turned.size == (40, 60), "EXIF orientation is applied"


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L"])
def test_large_pictures_are_brought_to_rgb_in_strips_that_leave_no_trace(mode, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (90, 70, 4), dtype=np.uint8)
    options = {"transparency": 3} if mode in "PL" else {}
    picture = encoded(Image.fromarray(pixels).convert(mode), "PNG", **options)
    whole = load_square(picture, 32)
    for size in (1, 70 * 7, 70 * 89):
        monkeypatch.setattr("model.pixels.STRIP_PIXELS", size)
        assert np.array_equal(load_square(picture, 32), whole)


def test_hostile_pictures_are_refused():
    good = encoded(Image.new("RGB", (64, 64)), "PNG")
    for bad in (b"", b"GIF89a", good[: len(good) // 2], b"\x89PNG" + bytes(50)):
        with pytest.raises(ImageError):
            load_square(bad, 32)
    with pytest.raises(ImageError, match="at most 1000"):
        read_picture(good, max_pixels=1000)
    with pytest.raises(ImageError, match="50 times"):
        load_square(encoded(Image.new("RGB", (1, 200)), "PNG"), 32)


def test_endless_scans_are_refused_and_what_only_looks_like_scans_is_not():
    """Those of a decoder's work count; bytes of metadata, or of the video that phones append to a photo, do not."""
    jpeg = encoded(Image.new("RGB", (64, 64), "red"), "JPEG", progressive=True)
    scans = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" * 100
    for start in (b"", b"\xff\xd8\xff\xd9"):
        with pytest.raises(ImageError, match="the picture has more than 64 scans"):
            read_picture(start + jpeg[:-2] + scans)
    metadata = b"\xff\xe1" + (len(scans) + 2).to_bytes(2) + scans
    for harmless in (jpeg + scans, jpeg[:2] + metadata + jpeg[2:]):
        assert np.array_equal(load_square(harmless, 32), load_square(jpeg, 32))


def test_pictures_of_too_many_pixels_are_refused_before_pillow_warns_of_them():
    with pytest.raises(ImageTooLargeError, match="the picture has 20000 x 20000 pixels; at most 40000000 are read"):
        read_picture(encoded(Image.new("1", (20_000, 20_000)), "PNG"))


def test_a_picture_that_is_not_there_is_not_called_unreadable(tmp_path):
    for path, said in ((tmp_path / "none.png", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(ImageError, match=f"^{path}: {said}$"):
            read_picture(path)


@pytest.mark.parametrize("read", [read_picture, lambda path: load_square(path, 32), encode_for_the_wire])
def test_a_device_or_a_file_of_holes_is_named_and_not_read(read, tmp_path):
    """`/dev/zero` and a pipe would be read for ever; their size is said to be 0, as this one's is."""
    (tmp_path / "device.png").symlink_to("/dev/null")
    (tmp_path / "holes.png").touch()
    os.truncate(tmp_path / "holes.png", 2**42)
    for name, said in (
        ("device.png", "the file is no regular file"),
        ("holes.png", f"the file has {2**42} bytes; at most {2**28} are read"),
    ):
        with pytest.raises(ImageError, match=f"^{tmp_path / name}: {said}$"):
            read(tmp_path / name)


def test_pixels_hash_is_of_the_bytes():
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert pixels_sha256(pixels) == pixels_sha256(pixels.copy(order="F"))
    assert pixels_sha256(pixels) != pixels_sha256(pixels[::-1])


def test_photos_are_found_limited_and_balanced(tiny_photos):
    photos = find_photos(tiny_photos / "train", limit=6, seed=1)
    assert [photo.label for photo in photos] == [0, 1] * 3
    assert photos == find_photos(tiny_photos / "train", limit=6, seed=1)
    assert photos != find_photos(tiny_photos / "train", limit=6, seed=2)
    assert len(find_photos(tiny_photos / "train")) == 32
    with pytest.raises(DataError, match="no such folder"):
        find_photos(tiny_photos)


def test_every_error_of_a_file_names_it_once(tmp_path):
    Image.new("RGB", (10_000, 10)).save(tmp_path / "line.png")
    Image.new("RGB", (10_000, 10)).save(tmp_path / "line.jpg")
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    for name in ("line.png", "line.jpg", "broken.jpg", "missing.png"):
        with pytest.raises(ImageError) as error:
            load_square(tmp_path / name, 64)
        assert str(error.value).count(str(tmp_path / name)) == 1
        assert "the picture" not in str(error.value)
    with pytest.raises(ImageError, match=r"^the picture is 10000 x 10; one side may be at most 50 times the other$"):
        load_square((tmp_path / "line.png").read_bytes(), 64)


def test_a_file_that_is_named_after_another_has_a_name_that_fits():
    assert fitting("bird-1.jpg", ".png") == "bird-1.jpg.png"
    long = ["ä" * 120 + end for end in "xy"]
    names = [fitting(stem, ".after.png") for stem in long]
    assert len(set(names)) == 2
    assert all(190 < len(name.encode()) <= 200 and name.endswith(".after.png") for name in names)
