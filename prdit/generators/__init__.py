"""Generators behind one protocol: each module here is one, found by its name in the config."""
