"""Random numbers as pure functions of (seed, purpose, image index), on the CPU and on a GPU."""
