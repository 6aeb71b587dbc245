"""Scores of a set of volumes against another: features first, then distances between them."""
