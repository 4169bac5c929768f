"""Errors that a user of the package can act on."""


class AutoInstructError(Exception):
    """Base of all errors raised on purpose here: the message says what was wrong, where, and what to do."""


class SourceError(AutoInstructError):
    """A file or a dataset on the Hub cannot be read, or lacks what is read from it."""


class SeedError(AutoInstructError):
    """A seed set cannot be read or breaks the contract."""


class RecipeError(AutoInstructError):
    """A recipe has an unknown key, a value of the wrong type or one out of range."""


class SchemaError(AutoInstructError):
    """A dataset lacks a column that a phase needs, or holds it in another type."""


class PromptError(AutoInstructError):
    """A set of prompts is incomplete or one of its files cannot be read."""


class TeacherError(AutoInstructError):
    """The teacher cannot be reached or refuses every request; what was answered so far is in the journal."""


class BudgetError(TeacherError):
    """The next request might cost more than is left; raising the budget goes on from there."""


class WeightsError(AutoInstructError):
    """A package with model weights is missing, or holds another file than the one this was written for."""


class HubError(AutoInstructError):
    """The Hub refuses a push or cannot be reached; the message says what is safe."""


class BuildError(AutoInstructError):
    """A build cannot go on: another one holds its folder, or nothing is left to publish."""


class RatingError(AutoInstructError):
    """Ratings cannot be kept or read, or what is asked for does not fit those that are there."""
