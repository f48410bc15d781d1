"""The laws are tried on the same examples everywhere, and a busy machine fails none of them."""

from hypothesis import settings

settings.register_profile("laws", deadline=None, derandomize=True)
settings.load_profile("laws")
