"""The errors of the course: each says in one sentence what is wrong, where, and what to do."""


class LatentCRSError(Exception):
    """Base class of every error that this package raises on purpose."""


class AssetError(LatentCRSError, OSError):
    """A file that the course needs is absent, damaged or cannot be fetched."""


class DataError(LatentCRSError, ValueError):
    """A data set, user, item or column is unknown or malformed."""


class ConfigError(LatentCRSError, ValueError):
    """A hyper-parameter has a value that makes no sense."""


class MessageError(LatentCRSError, ValueError):
    """A chat message cannot be used: empty, too long, or not text."""


class ReplyError(LatentCRSError, ValueError):
    """A language model's reply is not the JSON that was asked for."""


class EndpointError(LatentCRSError, OSError):
    """A language model's endpoint cannot be reached, refuses, or answers with something else."""


class WordlessError(EndpointError):
    """An endpoint answered without a word of a reply: its model thought, or it was withheld."""
