"""Find the JSON of a reply in what servers return: parts, thoughts, fences, tool calls, LaTeX, numbers as words."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

_THOUGHT = re.compile(r"^\s*(?:<(think|thinking|reasoning)>.*?</\1>|.*?</(?:think|thinking|reasoning)>)", re.DOTALL)
_FENCE = re.compile(r"```(?:json)?\s*\n(.*?)\n?```", re.DOTALL)
_MAX_STARTS = 10  # braces of a text before the object that are tried
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
# What follows a backslash that nobody escaped: LaTeX. Form feeds and backspaces are in no text; for tabs and line ends
# only commands count whose remaining letters are no word.
_LATEX = re.compile(
    r"[fb][A-Za-z]{2,}|(?:theta|times|tau|tilde|triangle|rho|nabla|neq)\b|text\{|right[)\]}|.\\]|u(?![0-9a-fA-F]{4})"
    r"|[^\"\\/bfnrtu]"
)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def list_texts(message: Mapping[Any, Any]) -> list[str]:
    """Return the texts of a message in which its answer may be, the most likely first.

    They are `content` (text, or the text parts of a list), then the arguments of the first tool call, then the
    reasoning: some servers put the answer there and leave `content` empty.
    """
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(_read_part(part) for part in content)
    calls = message.get("tool_calls")
    call = calls[0] if isinstance(calls, list) and calls and isinstance(calls[0], Mapping) else {}
    function = call.get("function")
    arguments = function.get("arguments") if isinstance(function, Mapping) else None
    arguments = json.dumps(arguments) if isinstance(arguments, Mapping) else arguments
    found = [content, arguments, message.get("reasoning_content"), message.get("reasoning")]
    return [text for text in found if isinstance(text, str) and text.strip()]


def _read_part(part: object) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, Mapping) or part.get("type") in ("thinking", "reasoning"):
        return ""
    text = part.get("text")
    return text if isinstance(text, str) else str(text.get("value", "")) if isinstance(text, Mapping) else ""


def find_json(text: str, accepts: Callable[[Any], bool], schema: Mapping[str, Any], *, is_loose: bool) -> str | None:
    """Return the JSON object of a reply that is valid under a schema, as text, or None.

    The text is tried as it is first, then without thoughts and fences and with what stands around the object removed.

    Args:
        text: The reply.
        accepts: Whether a value is valid under the schema.
        schema: The schema.
        is_loose: Whether the server does not enforce the schema: then differences that change no meaning are accepted,
            and small faults of the JSON are repaired.

    Returns:
        The text itself if it is valid, else the JSON of what was found in it.
    """
    tried: set[str] = set()
    for candidate in _list_candidates(text):  # most replies are valid as they are: nothing is searched in them
        if candidate in tried:
            continue
        tried.add(candidate)
        value = _parse(candidate)
        if isinstance(value, str):  # encoded twice
            value = _parse(value)
        if value is None and is_loose and is_whole(candidate):
            value = _parse(_repair(candidate))
        for one in (value, simplify(value, schema)) if is_loose else (value,):
            if one is not None and accepts(one):
                return text if candidate == text and _is_json_of(text, one) else _dump(one)
    return None


def _is_json_of(text: str, value: object) -> bool:
    try:
        return bool(json.loads(text) == value)
    except (ValueError, RecursionError):
        return False


def _list_candidates(text: str) -> Iterator[str]:
    yield text
    answer = _THOUGHT.sub("", text, count=1).strip()
    yield answer
    for found in (*_FENCE.findall(answer), *_FENCE.findall(text)):
        yield found.strip()
    end = answer.rfind("}") + 1
    for start in [found.start() for found in re.finditer(r"\{", answer[:end])][:_MAX_STARTS]:
        if _count_open(answer[:start]) == 0:  # not a part of an object that was cut off
            yield answer[start:end]


def _parse(text: str) -> Any:
    """Return the value of a JSON text, with LaTeX read as such; None if it is not JSON or has control characters."""
    try:
        value = json.loads(_ESCAPE.sub(_escape_latex, text))
        _dump(value).encode()  # raises for half of a surrogate pair
    except (ValueError, RecursionError):
        return None
    return None if has_control_characters(value) else value


def _escape_latex(found: re.Match[str]) -> str:
    return f"\\{found[0]}" if _LATEX.match(found.string, found.start(1)) else found[0]


def _repair(text: str) -> str:
    import json_repair  # only if a server needs it

    return str(json_repair.repair_json(text, ensure_ascii=False))


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def is_whole(text: str) -> bool:
    """Return whether the brackets of a JSON text close, those in strings aside: a truncated reply is never repaired."""
    return _count_open(text) == 0 and "{" in text


def _count_open(text: str) -> int:
    """Return how many brackets are open at the end of a text, those in strings aside; 1 in the middle of a string."""
    depth, in_string, is_escaped = 0, False, False
    for letter in text:
        if in_string:
            is_escaped, in_string = letter == "\\" and not is_escaped, letter != '"' or is_escaped
        elif letter == '"':
            in_string = True
        else:
            depth += (letter in "{[") - (letter in "}]")
    return depth or int(in_string)


def simplify(value: Any, schema: Mapping[str, Any]) -> Any:
    """Return a value without differences from a schema that change no meaning.

    "1" for 1, 5 for "5", 87 where an enum has steps of five, and fields that the schema does not have.
    """
    if isinstance(value, Mapping) and "properties" in schema:
        known = schema["properties"]
        return {name: simplify(one, known[name]) for name, one in value.items() if name in known}
    if isinstance(value, list) and "items" in schema:
        return [simplify(one, schema["items"]) for one in value]
    value = _simplify_scalar(value, schema.get("type"))
    if type(value) is int and schema.get("type") == "integer" and "enum" in schema:
        steps = schema["enum"]
        return min(steps, key=lambda step: abs(step - value)) if min(steps) <= value <= max(steps) else value
    return value


def _simplify_scalar(value: Any, kind: object) -> Any:
    match kind, value:
        case "integer", str() if re.fullmatch(r"\s*\d{1,9}\s*\.?", value):
            return int(value.strip().rstrip("."))
        case "integer", float() if value.is_integer():
            return int(value)
        case "boolean", str() if value.lower() in ("true", "false"):
            return value.lower() == "true"
        case "string", int() | float() if not isinstance(value, bool):
            return str(value)
    return value


def has_control_characters(value: object) -> bool:
    """Return whether a text in a JSON value has control characters other than tabs and line ends."""
    if isinstance(value, str):
        return _CONTROL.search(value) is not None
    if isinstance(value, Mapping):
        return any(has_control_characters(one) for one in value.values())
    return isinstance(value, list) and any(has_control_characters(one) for one in value)
