"""The stages as members of consumer groups: record, fold and identify over a log and a shared store."""
