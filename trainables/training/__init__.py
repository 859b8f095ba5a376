"""One trial in memory: batches, steps, averages, optimiser, workers, and what they report of themselves."""
