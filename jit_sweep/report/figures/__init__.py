"""Figures as SVG, one file a kind. The page, the paper and MLflow get the same bytes."""
