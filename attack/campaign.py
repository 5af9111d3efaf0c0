"""A whole attack: photos in, `results.json`, PNGs and a page out."""

import hashlib
import os
import time
import zlib
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from attack.decision import ATTACKS, UNBOUNDED
from attack.decision.problem import Guide, Problem
from attack.journal import Journal
from attack.oracle import NamedOracle
from attack.page import write_page
from attack.results import LATTICE, Store, measured, png_bytes, record, summary
from attack.scheduler import Scheduler
from attack.settings import Settings
from attack.starts import Starts
from attack.track import Outcome, Plan, Track
from model.console import Report, progress, say
from model.errors import EndpointError, ImageError, RefusedError
from model.files import write_json
from model.labels import CLASSES
from model.photos import Photo, find_photos, status_of
from model.pixels import load_square


class Campaign:
    """Runs one attack over a folder of photos."""

    def __init__(
        self,
        oracle: NamedOracle,
        images: Path,
        settings: Settings,
        out: Path,
        resume: bool = False,
        guide: Guide | None = None,
    ) -> None:
        self.oracle, self.settings, self.store, self.resume = oracle, settings, Store(out), resume
        self.guide = guide
        self.bounded = settings.attack not in UNBOUNDED
        self.photos = find_photos(images, settings.limit, settings.seed)
        self.starts = Starts(find_photos(images), oracle.input_size)
        self.images: list[dict[str, Any]] = []
        self.started = time.monotonic()

    def run(self, endpoint: str) -> dict[str, Any]:
        """Attack every photo; write and return the results."""
        with (
            Journal(self.store.out, self._fingerprint(), self.resume) as journal,
            progress("attack", len(self.photos)) as report,
        ):
            self.store.clear()
            scheduler = Scheduler(self.oracle, journal)
            show = partial(self._show, report, scheduler)
            self.images = list(journal.done.values())
            for track in scheduler.run(self._tracks(journal), show):
                self._finish(track)
                if track.outcome.refusal is None:  # a refusal may pass: --resume asks again
                    journal.finished(self.images[-1])
                show()
        order = {photo.name: place for place, photo in enumerate(self.photos)}
        self.images.sort(key=lambda image: order[image["image"]])
        results = self._results(endpoint)
        _warn(results["summary"])
        write_json(self.store.out / "results.json", results)
        write_page(self.store.out, results)
        return results

    def _results(self, endpoint: str) -> dict[str, Any]:
        return {
            "endpoint": endpoint,
            "attack": self.settings.attack,
            "parameters": asdict(self.settings) | ({} if self.bounded else {"max_l2": None, "spatial": "none"}),
            "seed": self.settings.seed,
            "lattice": LATTICE,
            "input_size": self.oracle.input_size,
            "summary": summary(self.images) | {"weights_changed": self._weights_changed()},
            "images": self.images,
        }

    def _weights_changed(self) -> bool | None:
        """Whether the endpoint names other weights than at first; None where it cannot be asked any more."""
        try:
            return self.oracle.identity_now() != self.oracle.identity
        except EndpointError as error:
            say(f"whether its weights are still the same is not known: {error}")
            return None

    def _show(self, report: Report, scheduler: Scheduler) -> None:
        found = [image["best_l2"] for image in self.images if image["best_l2"] is not None]
        rate = scheduler.queries / max(time.monotonic() - self.started, 1e-3)
        report(
            len(self.images),
            queries=str(scheduler.queries),
            per_s=f"{rate:.0f}",
            median_l2=f"{np.median(found):.2f}" if found else "-",
        )

    def _fingerprint(self) -> dict[str, Any]:
        """What must be equal for a run to go on: settings, photos, the endpoint's weights where it names them."""
        photos = chain(self.photos, self.starts.pool)
        names = "\n".join(f"{photo.name} {status_of(photo.path).st_size}" for photo in photos)
        return {
            "settings": asdict(self.settings),
            "photos": hashlib.sha256(os.fsencode(names)).hexdigest(),
            "input_size": self.oracle.input_size,
            "identity": self.oracle.identity,
        }

    def _tracks(self, journal: Journal) -> Iterator[Track]:
        for photo in self.photos:
            if photo.name in journal.done:
                continue
            outcome = Outcome(photo.name, CLASSES[photo.label])
            try:
                plan = self._plan(photo)
            except ImageError as error:
                outcome.status, outcome.reason = "failed", str(error)
                self.images.append(record(outcome, {}))
                continue
            track = Track(outcome, plan)
            track.replay(journal.answers.pop(photo.name, []))
            yield track

    def _plan(self, photo: Photo) -> Plan:
        side = self.oracle.input_size
        rng = np.random.default_rng([self.settings.seed, zlib.crc32(os.fsencode(photo.name))])
        clean = load_square(photo.path, side)
        mapped, spatial = None, None
        if self.settings.spatial == "random" and self.bounded:
            from attack.decision.maps import random_map  # noqa: PLC0415  (torch)

            mapped, spatial = random_map(clean, rng)
        original = (clean if mapped is None else mapped).astype(np.float32).ravel()
        others = partial(self.starts.against, photo.label, int(rng.integers(2**32)))
        gradient = None if self.guide is None else self.guide(photo.label, side)
        photo_at = partial(load_square, photo.path)
        problem = Problem(original, side, rng, others, self.settings.max_queries, gradient, photo_at)
        return Plan(clean, mapped, spatial, ATTACKS[self.settings.attack], problem, self.bounded)

    def _finish(self, track: Track) -> None:
        outcome = track.outcome
        if outcome.adversarial is not None and outcome.status == "robust":
            self._verify(track)
        files = self.store.save_pictures(outcome) if outcome.status == "adversarial" else {}
        self.images.append(record(outcome, files))
        outcome.original, outcome.adversarial = None, None
        outcome.earlier.clear()

    def _verify(self, track: Track) -> None:
        """Post the PNG once more, then ask for the clean photo: an endpoint that has become another tells itself."""
        outcome = track.outcome
        try:
            self._post_again(outcome)
            if outcome.status != "robust":
                (answer,) = self.oracle.labels(track.plan.clean[None])
                outcome.repeats += 1
                outcome.differing += answer != track.clean_answer
        except RefusedError as error:
            outcome.refuse(error)

    def _post_again(self, outcome: Outcome) -> None:
        """Post the PNG once more, as a user would: only a wrong answer makes an adversarial.

        Where the endpoint takes its answer back, those that were nearest before it are tried.
        """
        assert outcome.original is not None
        assert outcome.adversarial is not None
        for candidate in [outcome.adversarial, *reversed(outcome.earlier)]:
            l2, linf = measured(outcome.original, candidate)
            if self.bounded and l2 > self.settings.max_l2:
                break
            answer = self.oracle.label_of_png(png_bytes(candidate))
            outcome.repeats += 1
            if answer in CLASSES and answer != outcome.label:
                outcome.status, outcome.reason, outcome.adversarial = "adversarial", None, candidate
                outcome.l2, outcome.linf = l2, linf
                return
            outcome.differing += 1
            outcome.status, outcome.reason = "failed", f"answered {answer} when its PNG was posted again"


def _warn(counts: dict[str, Any]) -> None:
    """Say why the results may not be worth what they seem."""
    if counts["repeats_differing"]:
        repeats = f"{counts['repeats_differing']} of {counts['repeats']} repeated pictures"
        say(f"warning: {repeats} were answered otherwise than before: the endpoint's answers are not deterministic")
    if counts["weights_changed"]:
        say("warning: the endpoint names other weights than at first: not all answers are of one model")
