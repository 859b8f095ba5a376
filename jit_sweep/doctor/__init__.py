"""What a sweep's ledger, storage, MLflow and registry say of each other, and what can be mended."""
