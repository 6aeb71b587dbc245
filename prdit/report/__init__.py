"""Tables and figures, made from scores, cards and the volumes those name."""
