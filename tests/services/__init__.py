"""Real S3 and MLflow servers, and processes of the program's own."""
