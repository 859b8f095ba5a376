"""Proposals by Optuna, for searches whose truth is the ledger: a study lives in memory, for as long as one question."""
