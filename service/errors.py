"""What can go wrong while a process of the service starts."""


class PortTaken(OSError):
    """Nothing can listen on the configured address; the message says which."""
