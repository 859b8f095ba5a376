"""How a trial is scored: images generated alike for every trial, and distances to real ones.

Nothing here chooses between trials; the names, directions and units of the scores are in
`trainables.evaluation.metrics.registry`.
"""
