"""Sweeps under kill -9: what is killed and when comes from a seed, and what must hold afterwards is checked."""
