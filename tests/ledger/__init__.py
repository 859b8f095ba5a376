"""The ledger on sqlite and on PostgreSQL."""
