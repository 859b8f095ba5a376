"""What a sweep has spent, what it may still spend, and the guard that asks."""
