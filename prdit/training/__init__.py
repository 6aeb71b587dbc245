"""Training: one loop for every generator."""
