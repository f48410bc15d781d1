"""The evaluate stage: who is in which segment, kept current (DESIGN §4)."""
