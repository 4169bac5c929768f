"""What an endpoint understands of a request. Servers differ; a request says the same in the words that each takes.

The journal keeps requests as they were meant, not as they were sent: an answer that is valid under the schema is one,
however the server was asked for it.
"""

import json
from typing import Any, Literal

import openai

Structured = Literal["auto", "json_schema", "json_object", "text"]
_STEPS: tuple[Structured, ...] = ("json_schema", "json_object", "text")
_IN_WORDS = (
    "Answer with one JSON object and nothing else: no words before or after it, no code fence. It must be valid under "
    "this JSON schema:\n"
)
# What servers call the part of a request that they do not know.
_SCHEMA_WORDS = (
    "response_format",
    "json_schema",
    "json schema",
    "json_object",
    "schema",
    "structured",
    "grammar",
    "guided",
)
# And how they say that a reply cannot be as long as asked for: then it may be as long as they let it.
_TOO_LONG = ("context", "too large", "at most", "exceed", "maximum")
_LIMIT = "limit of the reply's length"


class Dialect:
    """How to put a request to one endpoint; it is learnt from what the endpoint refuses.

    Args:
        structured: How the schema is sent: `json_schema` (the server holds the model to it), `json_object` (to JSON of
            any kind; the schema stands in the words), `text` (in the words only); `auto` begins with the first and
            steps down where the endpoint refuses.
    """

    def __init__(self, structured: Structured = "auto") -> None:
        self._is_fixed = structured != "auto"
        self._structured: Structured = structured if self._is_fixed else "json_schema"
        self._refused: set[str] = set()
        self.version = 0
        """Grows with each thing learnt: a request refused in an earlier version deserves to be sent again."""

    @property
    def holds_to_schema(self) -> bool:
        """Whether the server is asked to hold the model to the schema."""
        return self._structured == "json_schema"

    def describe(self) -> str:
        """Return what the endpoint takes, in a few words; "" where it takes everything."""
        words = [] if self.holds_to_schema else [f"structured output as {self._structured}"]
        return ", ".join(words + [f"without {name}" for name in sorted(self._refused)])

    def translate(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the body to send.

        Args:
            body: A request with `json_schema` as its response format, or with none.

        Returns:
            The same request in words that the endpoint takes.
        """
        sent = {name: value for name, value in body.items() if name not in self._refused or name == "max_tokens"}
        if _LIMIT in self._refused:
            del sent["max_tokens"]
        if "max_tokens" in self._refused and "max_tokens" in sent:
            sent["max_completion_tokens"] = sent.pop("max_tokens")
        if not self.holds_to_schema and "response_format" in body:
            schema = json.dumps(body["response_format"]["json_schema"]["schema"], ensure_ascii=False)
            first, *others = body["messages"]
            sent["messages"] = [{**first, "content": f"{first['content']}\n\n{_IN_WORDS}{schema}"}, *others]
            sent["response_format"] = {"type": "json_object"}
            if self._structured == "text":
                del sent["response_format"]
        if "system" in self._refused and len(sent["messages"]) > 1 and sent["messages"][0]["role"] == "system":
            system, user, *others = sent["messages"]
            sent["messages"] = [{**user, "content": f"{system['content']}\n\n{user['content']}"}, *others]
        return sent

    def learn(self, error: openai.APIStatusError) -> bool:
        """Learn from a refusal of a request.

        Args:
            error: An answer with status 400, 422 or the like.

        Returns:
            Whether there is another way to put the request.
        """
        text = str(error.message)[:500].lower()
        param = str(getattr(error, "param", None) or "").lower()
        if "max_completion_tokens" in text and self._refuse("max_tokens"):
            return True
        if "max_tokens" in f"{param} {text}" and any(word in text for word in _TOO_LONG) and self._refuse(_LIMIT):
            return True
        for name in ("temperature", "seed"):
            if (param == name or (not param and name in text)) and self._refuse(name):
                return True
        if "system" in text and "role" in text and self._refuse("system"):
            return True
        about_schema = param.startswith("response_format") or (
            not param and any(word in text for word in _SCHEMA_WORDS)
        )
        return about_schema and self.step_down()

    def step_down(self) -> bool:
        """Ask less of the server: JSON without a schema, then plain text. Return whether there was a step left."""
        if self._is_fixed or self._structured == _STEPS[-1]:
            return False
        self._structured = _STEPS[_STEPS.index(self._structured) + 1]
        self.version += 1
        return True

    def _refuse(self, name: str) -> bool:
        if name in self._refused:
            return False
        self._refused.add(name)
        self.version += 1
        return True
