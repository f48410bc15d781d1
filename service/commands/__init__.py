"""The commands of `onefold`, a file for each group."""
