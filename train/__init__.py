"""Training: data, spatial-transformation-invariant TRADES, the loop and its recipes."""
