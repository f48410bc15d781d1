"""What people did: events fold into parts, and parts into one profile at read."""
