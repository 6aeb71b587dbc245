"""A thorax that never was, drawn from (seed, index): stands in for patients in miniature runs."""
