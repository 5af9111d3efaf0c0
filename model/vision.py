"""The one door to torchvision, which also opens beside a CPU-only torch.

The published torchvision wheel links CUDA libraries. Where they are missing its compiled operators do not load, and the
package stops at import because it registers fake kernels for operators that nobody declared. Declaring the two schemas
is enough for models and transforms; `ops.nms` and `io.decode_*` stay unavailable.
"""

import importlib.machinery
import importlib.util
from pathlib import Path

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def _compiled_ops_load() -> bool:
    """Whether torchvision's own library can be loaded; then it declares its operators itself."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return False
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        library = Path(spec.origin).parent / f"_C{suffix}"
        if library.exists():
            try:
                torch.ops.load_library(str(library))
            except OSError:
                return False
            return True
    return False


def _declare_missing_operators() -> torch.library.Library:
    library = torch.library.Library("torchvision", "DEF")
    for schema in _SCHEMAS:
        library.define(schema)
    return library


# Kept for the life of the process: a library that is collected takes its schemas with it.
_LIBRARY = None if _compiled_ops_load() else _declare_missing_operators()

import torchvision  # noqa: E402  (only after the operators are declared)

__all__ = ["torchvision"]
