"""How fast requests are sent."""

from .headers import retry_after
from .throttle import Throttle

__all__ = ["Throttle", "retry_after"]
