"""Synthetic pictures of birds and bicycles, drawn from parametric anatomy and frame geometry."""

from train.synthetic.scene import render
from train.synthetic.writer import synthesize

__all__ = ["render", "synthesize"]
