"""SQLAlchemy with its ORM, for a process where MLflow loads it in a thread: a statement built meanwhile finds half of it."""

import sqlalchemy.orm  # noqa: F401 - it is loaded here, and used by nothing of ours
