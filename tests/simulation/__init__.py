"""Whole sweeps played from one seed: the real planner, ledger, actor, searcher, guard, schedulers and proposer, without Ray or
torch. Lanes, clocks, storage and crashes are played."""
