"""What a changed sweep file means for what the ledger holds of its sweep."""
