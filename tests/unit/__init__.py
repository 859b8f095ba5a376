"""Pure functions and small torch: no Ray, no PostgreSQL, no S3 server, no MLflow server."""
