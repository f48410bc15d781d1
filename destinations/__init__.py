"""Destinations: where audiences are sent, and the gate that everybody passes first."""
