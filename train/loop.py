"""The training loop: from a configuration and photos to a bundle. N batch, H height, W width."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from signal import Signals

import torch
from torch import Tensor, nn

from model.architecture import PixelClassifier
from model.bundle import BundleMetadata, load_bundle, save_bundle
from model.console import Report, progress, say, unseen
from model.decision import calibrate
from model.errors import ConfigError, DataError, TrainingError
from train.batches import Batches
from train.checkpoint import FILE as CHECKPOINT_FILE
from train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from train.config import TrainConfig
from train.feed import Feed
from train.folder import held_folder
from train.pretrained import imagenet_weights
from train.provenance import fingerprint, legs_of, provenance, start_sha256
from train.ranks import ALONE, Ranks, joined, own_device
from train.schedule import Phase, Timetable
from train.selection import Selection
from train.splits import open_split
from train.step import NotFiniteError, TrainStep
from train.stop import StopRequest, stop_request
from train.validation import Validation, natural_logits, validate, validation_work
from train.watch import MetricsLog, draw_curves, print_table

CHECKPOINT_EVERY_S = 120.0
LOG_EVERY_STEPS = 10


def train(
    config: TrainConfig,
    data: Path,
    out: Path,
    *,
    resume: bool = False,
    device: str = "auto",
    minutes: float | None = None,
    checkpoint_every_s: float = CHECKPOINT_EVERY_S,
) -> Validation | None:
    """Train on `data`/train, watch on `data`/val, and leave a bundle, curves and metrics in `out`.

    A checkpoint is saved at every validation, and at the latest `checkpoint_every_s` seconds after the last one.
    Returns the figures of the released weights on `val`; None when `minutes` were over first: then there is a
    checkpoint to resume from, and no bundle. Raises ConfigError, DataError or TrainingError in one line.
    """
    ends_at = None if minutes is None else time.monotonic() + 60 * minutes
    own = _device(device)
    with _in_one_line(config, out), joined(own) as ranks, held_folder(out, ranks, resume=resume):
        trainer = Trainer(config, data, out, own, ranks, resume=resume)
        with closing(trainer.feed):
            finished = trainer.run(ends_at, checkpoint_every_s)
        return trainer.release() if finished else None


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise DataError("--device cuda: this machine or this torch has no CUDA; use --device cpu")
    return own_device(name)


@contextmanager
def _in_one_line(config: TrainConfig, out: Path) -> Iterator[None]:
    """Whatever the machine has too little of is one line."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        sizes = f"batch_size = {config.batch_size} and input_size = {config.input_size}"
        mend = "lower one of them"
        if (file := out / CHECKPOINT_FILE).exists():  # it would be refused with other sizes
            mend = f"{file} is whole, and --resume goes on from it once more is free; lower sizes need another --out"
        raise ConfigError(f"a step with {sizes} needs more memory than the GPU has free; {mend}") from error
    except OSError as error:
        raise TrainingError(f"{error.filename or out}: {error.strerror or error}") from error


class Trainer:
    """One run. Everything random follows from (seed, step), so only weights and counters are kept from step to step."""

    def __init__(
        self,
        config: TrainConfig,
        data: Path,
        out: Path,
        device: torch.device,
        ranks: Ranks = ALONE,
        *,
        resume: bool = False,
    ) -> None:
        if config.threads:
            torch.set_num_threads(config.threads)
        self.config, self.out, self.device, self.ranks = config, out, device, ranks
        n_classes = len(config.classes)
        with ranks.one_after_the_first():
            self.photos = open_split(data, "train", config.stored_size, config.classes)
            self.val = open_split(data, "val", config.input_size, config.classes)
            self.fingerprint = fingerprint(config, self.photos, self.val)
            found = load_checkpoint(out, self.fingerprint) if resume else None
            network = _initial_network(config) if found is None else PixelClassifier(config.architecture, n_classes)
            self.start_sha256 = start_sha256(config) if found is None else found.start_sha256
        self._assert_same(-1 if found is None else found.step)
        self.timetable = Timetable(config, len(self.photos))
        self.total_steps = self.timetable.total_steps
        self.batches = Batches(self.photos.labels, config.batch_size, config.seed, balanced=config.class_balanced)
        self.feed = Feed(self.photos, self.batches.at, device)
        self.train_step = TrainStep(network, config, device, ranks)
        self.network, self.average = self.train_step.network, self.train_step.average
        self.optimizer = self.train_step.optimizer
        self.step, self.legs = 0, legs_of((), 0, config)
        self.selection = Selection(config, self.average.network.state_dict())
        if found is not None:
            self._go_on(found)
        elif resume:
            say(f"{out}: no checkpoint yet, starting from the beginning")

    def run(self, ends_at: float | None = None, checkpoint_every_s: float = CHECKPOINT_EVERY_S) -> bool:
        """Train until the steps are done or accuracy has not risen for `patience` validations (train/selection.py).

        Or until the clock (`time.monotonic`) has passed `ends_at`: then the answer is False, and the state is saved.
        After SIGTERM or Ctrl-C it is saved too, and TrainingError raised.
        """
        self.train_step.speed_up()
        log = MetricsLog(self.out, self.step, writes=self.ranks.first)
        every = max(round(self.config.validation.every_epochs * self.timetable.steps_per_epoch), 1)
        saved_at = time.monotonic()
        with stop_request() as request, progress("training", self.total_steps) as report:
            while self.step < self.total_steps and not self.selection.exhausted:
                self._logged_step(log, report)
                last = self.step == self.total_steps
                validated = self.step % every == 0 or last
                if validated:
                    self._validate(log)
                late, signal = self._asked_to_end(ends_at, request)
                late = late and not last
                if self.ranks.first and (
                    validated or late or signal or time.monotonic() - saved_at > checkpoint_every_s
                ):
                    save_checkpoint(self.out, self._checkpoint())
                    saved_at = time.monotonic()
                if signal:
                    self.ranks.wait()  # torchrun ends the first, which saves, as soon as another process has ended
                    raise TrainingError(
                        f"stopped by {Signals(signal).name} after step {self.step} of {self.total_steps}"
                    )
                if late:
                    say(f"time is over after step {self.step} of {self.total_steps}; saved, --resume goes on from here")
                    return False
        if self.step < self.total_steps:
            say(f"stopped early: none better in {self.selection.stale} validations; the best weights are kept")
        return True

    def release(self) -> Validation:
        """Write the bundle of the best weights, its threshold calibrated on `val`, the curves and the final table."""
        network = self.average.network
        network.load_state_dict(self.selection.best)
        work = validation_work(self.val, len(self.val), self.config.validation.perturb_steps)
        with progress("final table", work) as report:
            # In float32, as it will serve.
            validation = self._measure(network, attacked=len(self.val), unmapped=True, report=report)
        logits = natural_logits(network, self.val, self.ranks)
        if self.ranks.first:
            self._write(network, validation, logits)
        return validation

    def _write(self, network: PixelClassifier, validation: Validation, logits: Tensor) -> None:
        metadata = BundleMetadata(
            classes=self.config.classes,
            input_size=self.config.input_size,
            abstain_below=calibrate(logits, self.config.coverage),
            coverage=self.config.coverage,
            training=provenance(self.config, self.start_sha256, self.photos, self.val, self.step, self.legs),
            metrics={"val": {**validation.flat(), **validation.counts}},
        )
        save_bundle(self.out, network, metadata)
        draw_curves(self.out)
        print_table(validation, f"{self.out}: epsilon {self.config.loss.epsilon:.4f} {self.config.loss.distance}")

    def _assert_same(self, step: int) -> None:
        """Raise DataError where processes were given different things: the run would hang, or train a wrong model."""
        self.ranks.assert_same(self.config.model_dump_json(exclude={"threads", "start_from"}), "settings")
        self.ranks.assert_same(self.photos.digest, "train photos")
        self.ranks.assert_same(self.val.digest, "val photos")
        self.ranks.assert_same(self.start_sha256, "weights to start from")
        self.ranks.assert_same(step, "step to resume from")

    def _go_on(self, found: Checkpoint) -> None:
        self.network.load_state_dict(found.network)
        self.average.network.load_state_dict(found.average)
        self.optimizer.load_state_dict(found.optimizer)
        self.step, self.legs = found.step, legs_of(found.legs, found.step, self.config)
        kept = self.selection
        kept.best, kept.best_score, kept.stale = found.best, found.best_score, found.stale

    def _asked_to_end(self, ends_at: float | None, request: StopRequest) -> tuple[bool, int]:
        """Whether time is over, and the signal, in any process of the run: they stop after the same step."""
        late = ends_at is not None and time.monotonic() > ends_at
        late_anywhere, number = self.ranks.gather(torch.tensor([int(late), request.number])).amax(0).tolist()
        return bool(late_anywhere), number

    def _logged_step(self, log: MetricsLog, report: Report) -> None:
        started = time.monotonic()
        epoch, phase = self.timetable.epoch(self.step), self.timetable.phase(self.step)
        figures = self._step(phase)
        self.step += 1
        speed = self.config.batch_size / (time.monotonic() - started)
        if self.step % LOG_EVERY_STEPS == 0 or self.step == 1:
            schedule = {name: getattr(phase, name) for name in ("learning_rate", "epsilon", "spatial_share")}
            log.add(self.step, epoch, **figures, **schedule, images_per_s=round(speed, 2))
        shown = {name: f"{value:.3f}" for name, value in figures.items() if "loss_" not in name}
        best = self.selection.best_score[0]
        if best >= 0:
            shown["best"] = f"{best:.3f}"
        report(self.step, epoch=f"{epoch:.2f}", **shown, images_per_s=f"{speed:.1f}")

    def _step(self, phase: Phase) -> dict[str, float]:
        """One optimiser step; its figures. Raises TrainingError before a loss that is not finite meets the weights."""
        photos, y = self.feed.at(self.step)
        following = self.feed.following(self.step) if self.step + 1 < self.total_steps else None
        try:
            return self.train_step(photos, y, phase, self.step, following)
        except NotFiniteError as error:
            names = ", ".join(self.photos.names[index] for index in self.batches.at(self.step)[:3].tolist())
            raise TrainingError(
                f"{error} at step {self.step} (batch: {names}, ...); lower optimizer.learning_rate or loss.beta"
            ) from error

    def _validate(self, log: MetricsLog) -> None:
        validation = self._measure(self.train_step.averaged_passes(), self.config.validation.photos)
        weights = sum(float(weight.double().sum()) for weight in self.average.network.parameters())
        self.ranks.assert_equal([weights, *validation.flat().values()], "the weights and their validation")
        epoch = self.timetable.epoch(self.step)
        log.add(self.step, epoch, **validation.flat(), **validation.counts)
        say(f"epoch {epoch:.2f}: {validation}")
        full = self.timetable.phase(self.step - 1).full_strength  # of the step just done
        self.selection.see(validation, self.average.network.state_dict(), full_strength=full)

    def _measure(
        self, network: nn.Module, attacked: int, *, unmapped: bool = False, report: Report = unseen
    ) -> Validation:
        return validate(
            network,
            self.val,
            self.config.loss,
            self.config.spatial.span,
            attacked=attacked,
            steps=self.config.validation.perturb_steps,
            unmapped=unmapped,
            ranks=self.ranks,
            report=report,
        )

    def _checkpoint(self) -> Checkpoint:
        return Checkpoint(
            step=self.step,
            network=self.network.state_dict(),
            average=self.average.network.state_dict(),
            optimizer=self.optimizer.state_dict(),
            best=self.selection.best,
            best_score=self.selection.best_score,
            stale=self.selection.stale,
            fingerprint=self.fingerprint,
            start_sha256=self.start_sha256,
            legs=self.legs,
        )


def _initial_network(config: TrainConfig) -> PixelClassifier:
    if config.start_from is not None:
        network = load_bundle(config.start_from, classes=config.classes).network
        # Exposure has no weights: a run may change it and train on.
        there, wanted = network.architecture, config.architecture
        if (there.backbone, there.activation) != (wanted.backbone, wanted.activation):
            raise DataError(
                f"{config.start_from}: its architecture is not the one of [architecture], which must say "
                f'backbone = "{there.backbone}" and activation = "{there.activation}"'
            )
        network.architecture = wanted
        return network.train().requires_grad_(True)
    torch.manual_seed(config.seed)
    network = PixelClassifier(config.architecture, len(config.classes))
    if config.weights == "imagenet":
        imagenet_weights(network)
    return network
