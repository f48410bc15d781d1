"""Segments: who is in one is a pure function of what a profile did, is and allows, and of the time."""
