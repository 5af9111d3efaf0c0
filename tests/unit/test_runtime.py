"""The runtime: torch's logits, and the same bits for an image in whatever company."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from model.architecture import Architecture
from model.bundle import BundleMetadata, save_bundle
from model.cpus import _quota
from model.errors import BundleError, ConfigError, RuntimeUnfitError
from model.onnx_export import export_onnx
from model.runtime import Logits, Runtime, cpu_batch_sizes, open_runtime
from model.torch_runtime import same_labels
from tests.networks import SIZE, assert_onnx_equals_torch, network, pictures, save

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module", params=["onnx", "torch"])
def runtime(request: pytest.FixtureRequest, bundle: Path) -> Runtime:
    return open_runtime(bundle, request.param, threads=1)


@pytest.mark.parametrize(
    ("activation", "exposure"), [("relu", "fixed"), ("silu", "fixed"), ("relu", "photo"), ("relu", "local")]
)
def test_onnx_equals_torch(tmp_path: Path, activation: str, exposure: str) -> None:
    assert_onnx_equals_torch(save(tmp_path, "resnet18", activation, exposure=exposure))


def test_onnx_removes_as_much_light_as_torch_above_the_same_floor(tmp_path: Path) -> None:
    assert_onnx_equals_torch(save(tmp_path, exposure="local", light_removed=0.9, contrast_floor=0.3))


@pytest.mark.parametrize("activation", ["relu", "silu"])
def test_onnx_equals_torch_on_a_wide_network(tmp_path: Path, activation: str) -> None:
    assert_onnx_equals_torch(save(tmp_path, "wrn_16_1", activation))


@pytest.mark.parametrize("exposure", ["photo", "local"])
def test_company_never_changes_a_bit_of_an_exposed_photo(tmp_path: Path, exposure: str) -> None:
    runtime, pixels = open_runtime(save(tmp_path, exposure=exposure), "onnx", threads=1), pictures(5)
    alone = np.concatenate([runtime.logits(pixels[i : i + 1]) for i in range(len(pixels))])
    assert np.array_equal(runtime.logits(pixels), alone)


def test_company_never_changes_a_bit(runtime: Runtime) -> None:
    pixels = pictures(13)
    alone = np.concatenate([runtime.logits(pixels[i : i + 1]) for i in range(len(pixels))])
    assert len(np.unique(alone[:, 0])) == len(pixels)
    for count in range(1, 14):
        assert np.array_equal(runtime.logits(pixels[:count]), alone[:count]), count
    order = np.random.default_rng(1).permutation(13)
    assert np.array_equal(runtime.logits(pixels[order]), alone[order])


@settings(max_examples=10, deadline=None)
@given(picks=st.lists(st.integers(0, 5), min_size=1, max_size=8), noise=st.integers(0, 2**31))
def test_any_composition_gives_the_same_bits(runtime: Runtime, picks: list[int], noise: int) -> None:
    known, strangers = pictures(6), pictures(len(picks), seed=noise)
    mixed = np.concatenate([known[picks], strangers])
    order = np.random.default_rng(noise).permutation(len(mixed))
    logits = np.empty((len(mixed), 2), np.float32)
    logits[order] = runtime.logits(mixed[order])
    assert np.array_equal(logits[: len(picks)], runtime.logits(known)[picks])


def test_answers(runtime: Runtime) -> None:
    logits = np.array([[1, 2], [2, 1], [-1, -2], [np.nan, 1], [1, 1]], np.float32)
    assert runtime.decide(logits) == ["bird", "bicycle", "abstain", "abstain", "bicycle"]
    assert runtime.logits(pictures(0)).shape == (0, 2)


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((1, SIZE, SIZE, 3), np.float32), np.zeros((SIZE, SIZE, 3), np.uint8), np.zeros((1, 9, 9, 3), np.uint8)],
)
def test_other_arrays_are_refused(runtime: Runtime, wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="uint8"):
        runtime.logits(wrong)


class _Moody(Runtime):
    """A runtime whose sums depend on the shape of the batch, or on the place in it."""

    kind, device = "moody", "cpu"

    def __init__(self, rule: Callable[[int, int], float]) -> None:
        super().__init__(BundleMetadata(abstain_below=0, input_size=32), (1, 2, 4))
        self.rule = rule
        self.sizes_run: list[int] = []

    def run(self, pixels: np.ndarray) -> Logits:
        self.sizes_run.append(len(pixels))
        moods = [self.rule(len(pixels), place) for place in range(len(pixels))]
        return (pixels[:, 0, 0, :2] + np.array(moods)[:, None]).astype(np.float32)


def test_shapes_that_round_otherwise_are_not_used() -> None:
    runtime = _Moody(lambda size, _: 1e-3 * (size == 2))
    runtime.prove()
    assert runtime.batch_sizes == (1, 4)
    runtime.sizes_run.clear()
    runtime.logits(pictures(7, 32))
    assert runtime.sizes_run == [4, 1, 1, 1]
    strict = _Moody(lambda size, _: 1e-3 * (size < 4))
    strict.prove()
    assert strict.batch_sizes == (4,)
    assert len(strict.logits(pictures(5, 32))) == 5  # one image padded to the only shape


def test_a_runtime_that_minds_the_place_is_refused() -> None:
    with pytest.raises(RuntimeUnfitError, match="place"):
        _Moody(lambda _, place: 1e-3 * place).prove()


def test_batch_sizes() -> None:
    assert cpu_batch_sizes(224) == (1, 2, 4, 8)
    assert cpu_batch_sizes(64) == (1, 2, 4, 8, 16, 32)
    assert cpu_batch_sizes(1024) == (1,)


def test_the_cpu_service_needs_no_torch(bundle: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from model.runtime import open_runtime\n"
        f"runtime = open_runtime(Path({str(bundle)!r}), threads=1); print(runtime.kind, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    expected = "torch True" if torch.cuda.is_available() else "onnx False"
    assert done.stdout.strip() == expected


@pytest.mark.parametrize(("kind", "device"), [("tensor", "auto"), ("auto", "tpu"), ("onnx", "cuda")])
def test_unknown_choices(bundle: Path, kind: str, device: str) -> None:
    with pytest.raises(ConfigError):
        open_runtime(bundle, kind, device)  # type: ignore[arg-type]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_that_is_not_there(bundle: Path) -> None:
    with pytest.raises(ConfigError, match="CUDA"):
        open_runtime(bundle, "torch", "cuda")


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    small = network("resnet18")
    small.architecture = Architecture(backbone="resnet50")
    save_bundle(tmp_path, small, BundleMetadata(abstain_below=0, input_size=32))
    with pytest.raises(BundleError, match="architecture"):
        open_runtime(tmp_path, "onnx")
    small.architecture = Architecture(backbone="resnet18")
    small.register_buffer("stray", torch.zeros(1))
    save_bundle(tmp_path, small, BundleMetadata(abstain_below=0, input_size=32))
    with pytest.raises(BundleError, match="stray"):
        open_runtime(tmp_path, "onnx")


@pytest.mark.parametrize(("weights", "biases"), [(2, 3), (3, 3)], ids=["cannot be computed", "three classes"])
@pytest.mark.parametrize("kind", ["onnx", "torch"])
def test_shapes_that_do_not_fit(kind: str, weights: int, biases: int, tmp_path: Path, capfd) -> None:
    wrong = network("resnet18")
    wrong.backbone.fc = torch.nn.Linear(512, weights)
    wrong.backbone.fc.bias = torch.nn.Parameter(torch.zeros(biases))
    save_bundle(tmp_path, wrong, BundleMetadata(abstain_below=0, input_size=32))
    with pytest.raises(BundleError, match="architecture"):
        open_runtime(tmp_path, kind, threads=1)
    assert capfd.readouterr().err == "", "nor does the runtime's own log say it"


def test_altered_weights(tmp_path: Path) -> None:
    save(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    with pytest.raises(BundleError, match="altered"):
        open_runtime(tmp_path, "onnx")


def test_the_graph_is_small(bundle: Path) -> None:
    weights = {name: tensor.numpy() for name, tensor in network("resnet18").state_dict().items()}
    graph = export_onnx(weights, Architecture(backbone="resnet18"), SIZE)
    assert len(graph) < 1.01 * 4 * sum(value.size for value in weights.values())


def test_half_precision_is_taken_only_with_equal_labels() -> None:
    calm, moody = _Moody(lambda *_: 0.0), _Moody(lambda *_: 300.0)
    squares = list(pictures(70, 32))
    assert same_labels(calm, calm, squares)
    tilted = _Moody(lambda *_: 0.0)
    tilted.run = lambda pixels: calm.run(pixels)[:, ::-1].copy()  # type: ignore[method-assign]
    assert not same_labels(calm, tilted, squares)
    assert same_labels(calm, moody, squares)  # the same shift of both logits changes no label


@pytest.mark.parametrize(
    ("text", "cpus"), [("max 100000\n", 65536), ("150000 100000\n", 2), ("50000 100000", 1), ("junk", 65536)]
)
def test_cpu_quota(tmp_path: Path, text: str, cpus: int) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert _quota(tmp_path / "cpu.max") == cpus
    assert _quota(tmp_path / "missing") == 65536


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_half_precision_on_cuda_keeps_the_labels_of_the_photos(bundle: Path, tmp_path: Path) -> None:
    pixels = pictures(12)
    for number, square in enumerate(pixels):
        folder = tmp_path / ("bird" if number % 2 else "bicycle")
        folder.mkdir(exist_ok=True)
        Image.fromarray(square).save(folder / f"{number}.png")
    exact = open_runtime(bundle, "torch", "cuda")
    fast = open_runtime(bundle, "torch", "cuda", half_precision_photos=tmp_path)
    assert fast.decide(fast.logits(pixels)) == exact.decide(exact.logits(pixels))
    alone = np.concatenate([fast.logits(pixels[i : i + 1]) for i in range(12)])
    assert np.array_equal(fast.logits(pixels), alone)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_equals_the_cpu(bundle: Path) -> None:
    cuda = open_runtime(bundle, "torch", "cuda")
    pixels = pictures(70)
    assert np.abs(cuda.logits(pixels) - open_runtime(bundle, "onnx").logits(pixels)).max() < 1e-3
    alone = np.concatenate([cuda.logits(pixels[i : i + 1]) for i in range(70)])
    assert np.array_equal(cuda.logits(pixels), alone)
