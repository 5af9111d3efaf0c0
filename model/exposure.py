"""What the network's exposure brings a picture to. No torch here: the network and its ONNX graph share these."""

from typing import Final

MEAN: Final = 0.45
SPREAD: Final = 0.25
"""Mean and standard deviation, over pixels and channels, that every exposure but `fixed` brings a picture to."""
LOCAL_RADIUS: Final = 1 / 16
"""Of the Gaussian that tells the light of a place for `local`: its standard deviation in sides of the picture."""
