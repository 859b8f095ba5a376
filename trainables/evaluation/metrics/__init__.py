"""The scores: a registry of names without torch, and one file a family that computes them."""
