"""LitServe with a constant label, a form field `image`, one worker. `python lit.py PORT`."""

import io
import sys

import litserve
import numpy as np
from fastapi import UploadFile
from PIL import Image


class Constant(litserve.LitAPI):
    """Decodes, then says bird."""

    def setup(self, device: str) -> None:
        self.device = device

    def decode_request(self, request: UploadFile) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(request["image"].file.read())).convert("RGB"))

    def predict(self, x: np.ndarray) -> str:
        return "bird" if x.ndim == 3 else "abstain"

    def encode_response(self, output: str) -> dict[str, str]:
        return {"label": output}


if __name__ == "__main__":
    server = litserve.LitServer(Constant(), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, num_api_servers=1)
