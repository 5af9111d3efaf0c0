"""BentoML with a constant label, a form field `image`, one worker. `python -m bentoml serve bento:Constant`."""

from __future__ import annotations

import bentoml
import numpy as np
from PIL.Image import Image as Picture


@bentoml.service(workers=1)
class Constant:
    """Decodes, then says bird."""

    @bentoml.api
    def predict(self, image: Picture) -> dict[str, str]:
        pixels = np.asarray(image.convert("RGB"))
        return {"label": "bird" if pixels.ndim == 3 else "abstain"}
