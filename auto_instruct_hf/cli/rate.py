"""stub until merged"""


def rate_command() -> None:
    """Rate."""
