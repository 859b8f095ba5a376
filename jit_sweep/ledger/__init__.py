"""The sweep's one truth: what was planned, tried, measured and decided, in SQL tables of our own."""
