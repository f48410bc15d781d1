"""What can go wrong with models. Messages name files and figures, never people."""


class ModelError(Exception):
    """The root of this tree."""


class NotEnoughData(ModelError):
    """There is nothing, or too little, to train or evaluate on."""


class TooManyItems(ModelError):
    """A dense model would not fit into memory; the message names one that does."""


class ArtefactError(ModelError):
    """A stored model is damaged, incomplete or of another version."""


class NoSuchModel(ModelError):
    """The registry holds no such version or alias."""


class PromotionRefused(ModelError):
    """A baseline is not beaten; the message says by which and how far."""


class FilterError(ModelError):
    """A filter cannot be meant; says where in its text, counted from 1, and what would do."""

    @classmethod
    def at(cls, place: int, problem: str) -> "FilterError":
        """What is wrong at a place of the text, counted from 0."""
        return cls(f"at character {place + 1}: {problem}")


class RulesError(ModelError):
    """Rules for items cannot be used; the message names file, line and field of everything wrong."""
