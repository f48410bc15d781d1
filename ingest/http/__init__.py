"""The parts of the HTTP collector that know HTTP but no events."""
