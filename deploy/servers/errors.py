"""What can go wrong with the servers."""


class ServersError(Exception):
    """The servers cannot be used; the message says why and what to do."""


class NotInstalled(ServersError):
    """Something this machine needs is missing or cannot be fetched; the message says what to install."""


class NotStarted(ServersError):
    """A server ended or did not answer in time; the message ends with its log."""
