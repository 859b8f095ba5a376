"""Scores of trained models as they are asked for: of a trial, a registered model, a folder or an official checkpoint."""
