"""Feature extractors that scores are computed on."""
