"""Checkpoints of the official JiT code, read and written."""
