"""Trained models: promoted, kept, exported, sampled and converted."""
