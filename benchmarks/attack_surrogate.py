"""What a network of the attacker's own is worth: `auto` with and without `--surrogate`, same endpoint, same photos.

    python benchmarks/attack_surrogate.py --bundle DIR --surrogate DIR --images DIR [--photos 32] [--queries 1000]

Over HTTP, rightly answered photos, no spatial map first. Median L2 after so many queries a photo, the ratio of the two,
and how many photos have an adversarial within L2 10 at 224 px (scaled to the endpoint's side).
Prints JSON; --json FILE keeps it.
"""

import argparse
import math
import tempfile
from pathlib import Path

import numpy as np
from attack_harness import machine, serving_bundle, told
from attack_strength import at, chosen

from attack.campaign import Campaign
from attack.decision.problem import Guide
from attack.evaluation.walks import max_l2
from attack.oracle import RemoteOracle
from attack.settings import Settings
from attack.surrogate import Surrogate
from attack.wire.client import Client
from model.metadata import read_metadata

MARKS = (50, 100, 250, 500, 1000, 5000)


def walked(client: Client, given: argparse.Namespace, guide: Guide | None) -> list[list[tuple[int, float]]]:
    """A curve of (queries, L2) a photo."""
    with tempfile.TemporaryDirectory() as out:
        settings = Settings(max_queries=given.queries, max_l2=1e9, spatial="none")
        campaign = Campaign(RemoteOracle(client), given.images, settings, Path(out), guide=guide)
        campaign.photos = chosen(client, given.images, given.photos)
        return [image["curve"] for image in campaign.run(client.url)["images"]]


def row(curves: list[list[tuple[int, float]]], given: argparse.Namespace, limit: float) -> dict[str, dict]:
    marks = [mark for mark in MARKS if mark <= given.queries]
    reached = {mark: np.array([at(curve, mark) for curve in curves]) for mark in marks}
    medians = {mark: float(np.median(values)) for mark, values in reached.items()}
    return {
        "median_l2": {str(mark): round(value, 4) if math.isfinite(value) else None for mark, value in medians.items()},
        "within_limit": {str(mark): int((values <= limit).sum()) for mark, values in reached.items()},
    }


def measure(given: argparse.Namespace) -> dict:
    surrogate = Surrogate(given.surrogate)
    with serving_bundle(given.bundle) as url, Client(url) as client:
        limit = max_l2(client.info.input_size)
        rows = {
            name: row(walked(client, given, guide), given, limit)
            for name, guide in (("alone", None), ("with surrogate", surrogate.against))
        }
    alone, guided = (rows[name]["median_l2"] for name in rows)
    return {
        "benchmark": "auto with and without a surrogate",
        **rows,
        "with_over_alone": {
            mark: round(guided[mark] / alone[mark], 3) for mark in alone if alone[mark] and guided[mark]
        },
        "photos": given.photos,
        "limit_l2": round(limit, 3),
        "config": {
            "model": given.name or given.bundle.name,
            "weights_sha256": read_metadata(given.bundle).weights_sha256,
            "surrogates_sha256": surrogate.identities,
            "surrogates": given.surrogate_name,
        },
        **machine("numpy", "onnxruntime", "torch"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--surrogate", type=Path, action="append", required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--name", help="of the model, for the report")
    parser.add_argument("--surrogate-name", help="of the surrogate, for the report")
    parser.add_argument("--photos", type=int, default=32, help="even: half of each class")
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    told(measure(given), given.json)


if __name__ == "__main__":
    main()
