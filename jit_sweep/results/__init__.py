"""What came of a sweep: arms, leaderboard, verdicts. Pure functions of the ledger's rows."""
