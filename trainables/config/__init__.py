"""What a trial and its evaluation are: frozen pydantic models without torch."""
