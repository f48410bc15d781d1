"""What can go wrong while events come in."""


class IngestError(Exception):
    """The root of this tree."""


class SourceError(IngestError):
    """A source cannot be read: the message names the file and the line."""


class CollectorError(IngestError):
    """The collector cannot listen: the message names the address and why."""
