"""What samples are seen through: feature extractors, shipped, trained or random."""
