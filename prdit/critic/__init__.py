"""The W-score (A.9.3): critics that tell two generators' volumes from real ones."""
