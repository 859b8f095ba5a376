"""The parts that networks are put together from, described without torch: one a file."""
