"""Attacks that see logits (SPSA, Square) or gradients (PGD, APGD) of a model in this process."""
