"""What can go wrong with a store. Messages name files, hosts and what to do, never personal data."""


class StoreError(Exception):
    """The root of this tree."""


class StoreUnavailable(StoreError):
    """The store cannot take the write or answer now: disk full, locked, unreachable. Try later."""


class Misconfigured(StoreError):
    """The store refuses how it is used: wrong credentials, no such keyspace. Trying again is no use."""


class SchemaMismatch(StoreError):
    """The store was written by another version of the code."""


class KeyMismatch(StoreError):
    """The workspace's keys are missing, or are not those that the store was written with."""
