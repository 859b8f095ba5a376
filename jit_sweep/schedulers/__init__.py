"""When arms stop early: pure functions of what the ledger has on each arm at each rung."""
