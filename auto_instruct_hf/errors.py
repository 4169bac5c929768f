"""Errors that a user of the package can act on."""


class AutoInstructError(Exception):
    """Base of all errors raised on purpose: the message says what is wrong, where, and what to do."""


class SourceError(AutoInstructError):
    """A file or a dataset on the Hub cannot be read, or lacks a required column."""


class SeedError(AutoInstructError):
    """A seed set cannot be read or violates the contract."""


class RecipeError(AutoInstructError):
    """A recipe has an unknown key, or a value of the wrong type or out of range."""


class SchemaError(AutoInstructError):
    """A dataset lacks a column that a phase needs, or the column has another type."""


class PromptError(AutoInstructError):
    """A set of prompts is incomplete or one of its files cannot be read."""


class TeacherError(AutoInstructError):
    """The teacher cannot be reached or rejects every request; all replies so far are in the journal."""


class BudgetError(TeacherError):
    """The next request might exceed the budget; a run with a larger budget continues from here."""


class WeightsError(AutoInstructError):
    """A package with model weights is missing, or its file has another hash than expected."""


class HubError(AutoInstructError):
    """The Hub rejects a push or cannot be reached; the message says what is safe."""


class BuildError(AutoInstructError):
    """A build cannot continue: another one has locked its folder, or no rows are left."""


class WorkListed(AutoInstructError):  # noqa: N818  # no failure: the build stopped where it was told to
    """A build stopped before a phase whose units other processes compute; the message says how."""


class RatingError(AutoInstructError):
    """Ratings cannot be stored or read, or do not fit what is requested."""
