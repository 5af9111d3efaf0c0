"""One TOML, one run: the frozen configuration of `trades-bob train`."""

from math import sqrt
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from attack.transforms.spatial import SpatialRange
from model.architecture import Architecture
from model.errors import ConfigError
from model.labels import CLASSES
from model.toml import from_table, read_toml
from train.precision import Precision, Wanted

RECIPES = Path(__file__).parent / "recipes"


def _ratio(value: object) -> object:
    """Let a TOML say "8/255", as papers do."""
    if not isinstance(value, str):
        return value
    try:
        over, _, under = value.partition("/")
        return float(over) / float(under or 1)
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError(f'{value!r} is neither a number nor a ratio such as "8/255"') from error


Ratio = Annotated[float, BeforeValidator(_ratio)]
Share = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """Frozen, and a key that is not known is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class LossConfig(Section):
    """What is minimised."""

    kind: Literal["trades", "madry", "natural"] = "trades"
    """`trades` (Zhang et al. 2019), `madry` (cross-entropy on PGD examples, 2018) or `natural` (cross-entropy)."""
    beta: float = Field(default=6.0, ge=0)
    """Weight of the robust term; more is more robust and less accurate."""
    distance: Literal["l_inf", "l_2"] = "l_inf"
    """Norm of the ball."""
    epsilon: Ratio = Field(default=8 / 255, gt=0)
    """Radius of the ball on pixels in [0, 1]; "8/255" may be written. For l_2 the Euclidean norm of a change."""
    step_size: Ratio = Field(default=2 / 255, gt=0)
    """Length of one inner step, in the units of epsilon; shrinks with epsilon while that warms up."""
    perturb_steps: int = Field(default=10, ge=1, le=1000)
    """Inner steps, K."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)
    """Share of the label's weight that is spread over both classes."""
    natural_epochs: float = Field(default=0.0, ge=0)
    """Epochs of plain cross-entropy before the robust loss begins."""
    epsilon_warmup_epochs: float = Field(default=0.0, ge=0)
    """Epochs over which epsilon then rises from 0 to its value."""

    @model_validator(mode="after")
    def _units(self) -> Self:
        if self.distance == "l_inf" and self.epsilon > 0.5:
            raise ValueError(
                f'epsilon = {self.epsilon:g} is out of range: pixels lie in [0, 1], so 8 of 255 grey values is "8/255"'
            )
        if self.step_size > self.epsilon:
            raise ValueError(f"step_size = {self.step_size:g} is larger than epsilon = {self.epsilon:g}")
        return self


class SpatialConfig(Section):
    """Random maps of both views: shrink, rotate, shift, black outside. The defaults are the warm-up's."""

    shift_px_at_224: float = Field(default=18.0, ge=0, lt=112)
    """Largest shift along each axis in pixels of a 224 px picture; scaled with the input size."""
    angle_degrees: float = Field(default=30.0, ge=0, le=180)
    """Largest rotation either way, in degrees."""
    scale: Ratio = Field(default=204 / 224, gt=0.3, le=1)
    """The picture is shrunk to this share of its side, so that there is room to shift; "204/224" in the warm-up."""
    least_scale: Annotated[Ratio, Field(gt=0.3, le=1)] | None = None
    """Where given, each map shrinks to a share of its own between this and `scale`: small, far objects too."""
    worst_of: int = Field(default=1, ge=1, le=100)
    """The second view is the one of this many random maps on which the network disagrees most with the first."""
    warmup_epochs: float = Field(default=0.0, ge=0)
    """Epochs over which the maps grow from none to their full span."""
    both_views: bool = True
    """Map the natural view too; false leaves it unmoved."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.least_scale is not None and self.least_scale > self.scale:
            raise ValueError(f"least_scale = {self.least_scale:g} is larger than scale = {self.scale:g}")
        return self

    @property
    def span(self) -> SpatialRange:
        """The same, in fractions of the side."""
        return SpatialRange(self.shift_px_at_224 / 224, self.angle_degrees, self.scale, self.least_scale)


class AugmentConfig(Section):
    """Changes of the photo before the maps, the same for both views, drawn alike for both classes."""

    flip: bool = True
    """Mirror half of the photos."""
    crop_scale: Annotated[float, Field(gt=0.05, le=1)] = 0.6
    """Random crops keep at least this share of the photo's area."""
    shear: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Crops are sheared and stretched: each entry of their 2 x 2 map changes by at most this."""
    pad_px: int = Field(default=0, ge=0, le=32)
    """Pad-and-crop, as on CIFAR: largest shift along each axis, in whole pixels of the input, black outside."""
    brightness: Share = 0.3
    """Largest relative change of brightness."""
    contrast: Share = 0.3
    """Largest relative change of contrast."""
    saturation: Share = 0.3
    """Largest relative change of saturation."""
    grey: Share = 0.05
    """Share of photos without colour."""
    haze: Share = 0.1
    """Share of photos behind a bright fractal cloud that takes up to two thirds of the contrast."""
    resolution: Share = 0.5
    """Share of photos scaled down and up again, so that sharpness is no sign of the class."""
    resolution_min: Annotated[float, Field(ge=1 / 32, le=1)] = 0.4
    """Smallest factor of that."""
    motion: Share = 0.0
    """Share of photos blurred as by a moving and zooming camera: by up to 8 % of the side, and 10 % of scale."""
    jpeg: Share = 0.25
    """Share of photos through JPEG of quality 30 to 95."""
    noise: Share = 0.25
    """Share of photos with Gaussian noise of up to 0.08."""
    backdrop: Share = 0.3
    """Share of photos multiplied with another photo: a bicycle on white then stands before something."""


class OptimizerConfig(Section):
    """How the weights move."""

    name: Literal["sgd", "adamw"] = "adamw"
    """SGD with momentum, or AdamW."""
    learning_rate: float = Field(default=1e-3, ge=1e-9)
    """Peak learning rate."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Momentum of SGD."""
    nesterov: bool = True
    """Nesterov's form of it."""
    weight_decay: float = Field(default=5e-4, ge=0)
    """Weight decay; none on biases and normalisation."""
    schedule: Literal["cosine", "one_cycle", "steps"] = "cosine"
    """Cosine to zero, one cycle (rise over a quarter, then cosine), or a tenth at each of `decay_epochs`."""
    warmup_epochs: float = Field(default=0.2, ge=0)
    """Epochs of linear rise of the rate from zero; `one_cycle` has its own."""
    decay_epochs: tuple[Annotated[float, Field(gt=0)], ...] = ()
    """Of the schedule `steps` alone: epochs, counted from 0, from which the rate is a tenth of the one before."""
    clip_norm: float = Field(default=5.0, ge=1e-6)
    """Largest norm of the gradient."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.995
    """Decay of the moving average of the weights that is validated and released; 0 turns it off."""

    @model_validator(mode="after")
    def _decays(self) -> Self:
        if (self.schedule == "steps") != bool(self.decay_epochs):
            given = f'schedule = "{self.schedule}" with decay_epochs = {list(self.decay_epochs)}'
            raise ValueError(f'{given}: "steps" needs some, the others take none')
        return self


class ValidationConfig(Section):
    """What is looked at while training goes on, on the `val` photos."""

    every_epochs: float = Field(default=1.0, gt=0, le=1e6)
    """Epochs between two validations."""
    photos: int = Field(default=200, ge=2)
    """Photos attacked at each, as many of each class as can be; clean accuracy and the final table take all."""
    perturb_steps: int = Field(default=10, ge=1, le=1000)
    """Steps of the PGD that measures robust accuracy (cross-entropy, random start, epsilon and norm of the loss)."""
    patience: int = Field(default=5, ge=1)
    """Stop after this many validations without a better robust accuracy, of plain cross-entropy natural accuracy; never
    where `keep` is `last`."""
    keep: Literal["best", "last"] = "best"
    """Whose weights are released: the best validation's, or the last step's, which neither `val` nor patience chose."""


class TrainConfig(Section):
    """A run of `trades-bob train`."""

    classes: tuple[str, ...] = Field(default=CLASSES, min_length=2)
    """Names of the classes by index; the service, the attacks and the evaluation take bicycle and bird alone."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Every random choice follows from it and the step number."""
    epochs: float = Field(gt=0, le=1e6)
    """Passes over as many photos as the training set has."""
    batch_size: int = Field(default=64, ge=2, le=2**16)
    """Photos a step over all processes."""
    class_balanced: bool = True
    """Draw as many photos of each class, to within one a step; false draws them as often as the folder holds them."""
    input_size: int = Field(default=224, ge=32, le=512)
    """Side in pixels of what the network sees, and of the bundle."""
    cache_size: int | None = Field(default=None, ge=32, le=1024)
    """Side in pixels at which photos are cached; by default 1.15 times the input size."""
    coverage: float = Field(default=0.8, gt=0, le=1)
    """Share of `val` on which the released classifier does not abstain."""
    start_from: Path | None = None
    """A bundle whose weights the run starts from; its input size and its exposure may differ."""
    weights: Literal["random", "imagenet"] = "random"
    """`imagenet` starts from torchvision's pre-trained file."""
    threads: int = Field(default=0, ge=0, le=1024)
    """CPU threads; 0 leaves torch's choice."""
    precision: Precision = "auto"
    """Of the passes through the network: `bfloat16` is autocast; `auto` takes it where the hardware multiplies it fast
    (CUDA, or a CPU with AMX). Weights, perturbations and losses are float32 always."""
    compilation: Wanted = "auto"
    """`torch.compile` of the passes, held against the plain ones first; `auto` does on CUDA. Up to four minutes before
    the first step."""
    capture: Wanted = "auto"
    """The passes as CUDA graphs, held against the plain ones first; `auto` does on CUDA. Seconds; the GPU waits less
    for the processor."""
    architecture: Architecture = Architecture()
    loss: LossConfig = LossConfig()
    spatial: SpatialConfig = SpatialConfig()
    augment: AugmentConfig = AugmentConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    validation: ValidationConfig = ValidationConfig()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("classes names one twice")
        for name in self.classes:
            if name in ("", ".", "..", "abstain") or set(name) & set("/\\\0"):
                raise ValueError(f"classes: {name!r} cannot name a folder of photos and an answer")
        self._ends_after_its_phases()
        if self.stored_size < self.input_size:
            raise ValueError(f"cache_size = {self.stored_size} is smaller than input_size = {self.input_size}")
        widest = sqrt(3) * self.input_size / 4
        if self.loss.distance == "l_2" and self.loss.epsilon > widest:
            raise ValueError(
                f"loss.epsilon = {self.loss.epsilon:g} is out of range: pixels lie in [0, 1], and at "
                f"{self.input_size} px an l_2 of {widest:.1f} moves each of them by 0.25"
            )
        if self.class_balanced and self.batch_size < len(self.classes):
            raise ValueError(f"batch_size = {self.batch_size} is smaller than the {len(self.classes)} classes")
        if self.validation.photos < len(self.classes):
            photos = self.validation.photos
            raise ValueError(f"validation.photos = {photos} is smaller than the {len(self.classes)} classes")
        if "\0" in str(self.start_from):
            raise ValueError(f"start_from: {str(self.start_from)!r} cannot be a path")
        if self.weights == "imagenet" and self.start_from is not None:
            raise ValueError("weights and start_from cannot both be given")
        return self

    def _ends_after_its_phases(self) -> None:
        """Else the bundle would name a loss, maps and a rate that the run never saw."""
        lengths = {"spatial.warmup_epochs": self.spatial.warmup_epochs}
        if self.loss.kind != "natural":
            ball = self.loss.natural_epochs + self.loss.epsilon_warmup_epochs
            lengths["loss.natural_epochs + loss.epsilon_warmup_epochs"] = ball
        asked = "warmup_epochs" in self.optimizer.model_fields_set  # the default is no reason to refuse a short run
        if asked and self.optimizer.schedule != "one_cycle":
            lengths["optimizer.warmup_epochs"] = self.optimizer.warmup_epochs
        lengths["optimizer.decay_epochs"] = max(self.optimizer.decay_epochs, default=0)
        for key, length in lengths.items():
            if length >= self.epochs:
                raise ValueError(f"{key} = {length:g} must be less than epochs = {self.epochs:g}")

    @property
    def stored_size(self) -> int:
        """Side in pixels of the cached photos."""
        return self.cache_size or round(self.input_size * 1.15)


def read_config(path: Path) -> TrainConfig:
    """Read a run's TOML; a recipe's bare name (`smoke`) is found too. Raises ConfigError naming file, key and mend."""
    if not path.is_file() and path.name == str(path) and (RECIPES / f"{path.name}.toml").exists():
        path = RECIPES / f"{path.name}.toml"
    try:
        table = read_toml(path)
    except FileNotFoundError as error:
        known = ", ".join(sorted(recipe.stem for recipe in RECIPES.glob("*.toml")))
        raise ConfigError(f"{path}: no such file; recipes that can be named: {known}") from error
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    return parse_config(table, str(path))


def parse_config(table: dict[str, Any], source: str) -> TrainConfig:
    """A table as from TOML -> TrainConfig; ConfigError names the first key that is wrong."""
    return from_table(TrainConfig, table, source)
