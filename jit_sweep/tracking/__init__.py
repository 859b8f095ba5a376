"""MLflow, where people watch a sweep and find its champion. Nothing that matters lives only here."""
