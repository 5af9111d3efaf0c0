"""Stop the build, in one line, when the bundle to be baked in is missing, altered or not the one that was announced."""

import hashlib
import json
import sys
from pathlib import Path


def fault(bundle: Path, announced_sha256: str) -> str | None:
    """What is wrong with the bundle, or None. The service checks the rest when it starts."""
    metadata, weights = bundle / "bundle.json", bundle / "model.safetensors"
    if not (metadata.is_file() and weights.is_file()):
        return "no bundle to bake in: put one into model/release, or name its folder with --build-context bundle=DIR"
    try:
        told_sha256 = json.loads(metadata.read_bytes())["weights_sha256"]
    except (ValueError, KeyError, TypeError):
        return f"{metadata}: truncated or altered; no JSON with weights_sha256"
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    if digest != told_sha256:
        return f"{weights}: truncated or altered (SHA-256 {digest}); bundle.json says otherwise"
    if announced_sha256 not in ("", digest):
        return f"{weights}: SHA-256 is {digest}, the build argument WEIGHTS_SHA256 says {announced_sha256}"
    return None


if __name__ == "__main__":
    if message := fault(Path(sys.argv[1]), sys.argv[2]):
        sys.exit(f"trades-bob image: {message}")
