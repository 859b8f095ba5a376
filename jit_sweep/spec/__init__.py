"""The sweep file: its keys and rules, and reading it."""
