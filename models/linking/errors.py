"""What can go wrong with linking. Messages name files, lines and fields, never what stands in them."""

from models.errors import ModelError


class LinkingError(ModelError):
    """The root of this part of the tree."""


class BadRecords(LinkingError):
    """A file of records cannot be read as one; the message says where, and what to do."""


class BadMapping(LinkingError):
    """A mapping names a column or a role that there is not."""


class NothingToLearn(LinkingError):
    """There are too few records, candidates or labels for a model."""


class BadReview(LinkingError):
    """A file of labels or of reviewed pairs cannot be used."""
