"""The request format of an endpoint: servers differ in the parameters and the structured output they accept.

The journal keeps requests in one format, not as they were sent: a reply that is valid under the schema is valid however
the endpoint was asked for it.
"""

import json
from typing import TYPE_CHECKING, Literal

from .exchange import Body
from .server_words import read_words

if TYPE_CHECKING:
    import openai

Structured = Literal["auto", "json_schema", "json_object", "text"]
_STEPS: tuple[Structured, ...] = ("json_schema", "json_object", "text")
_SCHEMA_PROMPT = (
    "Answer with one JSON object and nothing else: no words before or after it, no code fence. It must be valid under "
    "this JSON schema:\n"
)
# Words by which error messages name the schema, and say that max_tokens is too large (then it is left out).
_SCHEMA_WORDS = ("response_format", "json_object", "schema", "structured", "grammar", "guided")
_TOO_LARGE = ("context", "too large", "at most", "exceed", "maximum")
_LIMIT = "limit of the reply's length"
_REASONING = 16_384  # tokens, for hidden reasoning: it counts within the limit of the reply


class RequestFormat:
    """How requests are written for one endpoint; adapted when the endpoint rejects a part of them.

    The schema is sent as `json_schema` (enforced by the server), `json_object` (JSON is enforced, the schema is in the
    prompt) or `text` (in the prompt only); `auto`: the first of them that is accepted. `max_tokens` replaces the limit
    of each reply.
    """

    def __init__(self, structured: Structured = "auto", max_tokens: int | None = None) -> None:
        self._is_fixed = structured != "auto"
        self._max_tokens, self._reasoning = max_tokens, 0
        self._structured: Structured = structured if self._is_fixed else "json_schema"
        self._rejected: set[str] = set()
        self.version = 0
        """Incremented by each adaptation: a request rejected in an earlier version is worth sending again."""

    @property
    def enforces_schema(self) -> bool:
        """Whether the server is asked to enforce the schema."""
        return self._structured == "json_schema"

    def translate(self, body: Body) -> Body:
        """Return the body to send for a request with a `json_schema` response format, or with none."""
        sent = {name: value for name, value in body.items() if name not in self._rejected or name == "max_tokens"}
        sent.pop("max_tokens", None)
        if (limit := self.limit(body)) is not None:
            sent["max_completion_tokens" if "max_tokens" in self._rejected else "max_tokens"] = limit
        if not self.enforces_schema and "response_format" in body:
            schema = json.dumps(body["response_format"]["json_schema"]["schema"], ensure_ascii=False)
            first, *others = body["messages"]
            sent["messages"] = [{**first, "content": f"{first['content']}\n\n{_SCHEMA_PROMPT}{schema}"}, *others]
            sent["response_format"] = {"type": "json_object"}
            if self._structured == "text":
                del sent["response_format"]
        if "system" in self._rejected and len(sent["messages"]) > 1 and sent["messages"][0]["role"] == "system":
            system, user, *others = sent["messages"]
            sent["messages"] = [{**user, "content": f"{system['content']}\n\n{user['content']}"}, *others]
        return sent

    def limit(self, body: Body) -> int | None:
        """Return the maximum tokens of the reply to a request, as it is sent; None: it is not limited."""
        if _LIMIT in self._rejected or "max_tokens" not in body:
            return None
        return int(self._max_tokens or body["max_tokens"] + self._reasoning)

    def adapt(self, error: "openai.APIStatusError") -> bool:
        """Adapt to an error with status 400 or 422; return whether there is another format to try."""
        text = _read_text(error)
        param = str(getattr(error, "param", None) or "").lower()
        parts = {
            "max_tokens": "max_completion_tokens" in text,
            _LIMIT: ("max_tokens" in f"{param} {text}" and any(word in text for word in _TOO_LARGE))
            or ("max_completion_tokens" in text and "max_tokens" in self._rejected),
            "temperature": "temperature" in (param or text),
            "reasoning_effort": "reasoning" in (param or text),
            "seed": "seed" in (param or text),
            "system": "system" in text and "role" in text,
        }
        for name, is_named in parts.items():
            if is_named and name not in self._rejected:
                self._rejected.add(name)
                self.version += 1
                return True
        is_schema = param.startswith("response_format") or (not param and any(word in text for word in _SCHEMA_WORDS))
        return is_schema and self.step_down()

    def raise_limit(self) -> str:
        """Allow replies more tokens, then any number; return what is so from now on, "" if nothing changes.

        A limit of the user's own stays.
        """
        if _LIMIT in self._rejected or self._max_tokens:
            return ""
        self.version += 1
        if self._reasoning:
            self._rejected.add(_LIMIT)
            return "the length of replies is not limited"
        self._reasoning = _REASONING
        return f"the limit of replies is {_REASONING:,} tokens higher"

    def step_down(self) -> bool:
        """Fall back to JSON without a schema, then to plain text; return whether there was a step left."""
        if self._is_fixed or self._structured == _STEPS[-1]:
            return False
        self._structured = _STEPS[_STEPS.index(self._structured) + 1]
        self.version += 1
        return True


def is_too_long(error: "openai.APIError") -> bool:
    """Return whether an error may say that a request with the limit of its reply is too long for the model."""
    text = _read_text(error)
    return "token" in text and any(word in text for word in (*_TOO_LARGE, "too long", "limit", "length"))


def _read_text(error: "openai.APIError") -> str:
    response = getattr(error, "response", None)
    return (read_words(error.body) or (response.text if response is not None else "") or str(error))[:500].lower()
