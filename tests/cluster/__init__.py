"""Ray: lanes, sweeps, submitted jobs."""
