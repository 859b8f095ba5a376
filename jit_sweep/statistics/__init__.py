"""Statistics that verdicts rest on. Imports nothing of the program."""
