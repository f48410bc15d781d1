"""What can go wrong when audiences are sent out. Messages name files, hosts and segments, never a person."""


class DestinationError(Exception):
    """The root of this tree."""


class ExportRefused(DestinationError):
    """The rules forbid it: a segment that is sensitive, that is not there, or not this destination's."""


class TargetUnavailable(DestinationError):
    """The other side, or the disk, cannot take it now. Nothing was acknowledged: run it again later."""


class TargetRefused(DestinationError):
    """The other side refuses how it is used: credentials, rights, an address. Trying again is no use."""


class NotInstalled(DestinationError):
    """A library that this destination needs is an extra that is not installed."""
