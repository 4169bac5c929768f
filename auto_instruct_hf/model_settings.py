"""Settings of the models: who writes, who judges, who embeds."""

from dataclasses import dataclass
from typing import Literal, get_args, get_type_hints

from .settings import check


@dataclass(frozen=True)
class TeacherSettings:
    """How requests are sent. Of it only `model` and `attempts` decide what comes out. All of it is ours."""

    model: str | None = None
    base_url: str | None = None
    concurrency: int | None = None
    """Requests in flight at most; None: a few at first, more while the endpoint takes them. Both fall when it answers
    that they are too many (429), and rise again."""
    rpm: float | None = None
    """Requests a minute at most; None: as many as the endpoint takes."""
    tpm: int | None = None
    """Tokens a minute at most, input and output."""
    budget: float | None = None
    """US dollars for all requests in the journal, those of earlier runs included; None: as much as it takes."""
    batch: bool = False
    """Ask through the Batch API: half the price, answers within a day."""
    batch_poll: float = 30.0
    """Seconds between looks at the batches."""
    structured: Literal["auto", "json_schema", "json_object", "text"] = "auto"
    """How the schema of a reply is sent; `auto` finds out what the endpoint takes."""
    input_price: float | None = None
    """US dollars a million input tokens, where the list price is unknown or not yours; with `output_price`."""
    cached_price: float | None = None
    """Likewise for input from the provider's prefix cache; None: as other input."""
    output_price: float | None = None
    attempts: int = 6
    """How often a request whose reply is not usable is asked, each time with another draw."""
    retries: int = 8
    """How often a request without an answer (5xx, dropped, timed out) is sent again."""
    timeout: float = 300.0
    max_failing: float = 0.5
    """Stop when more of the last 100 answers failed than this share; 1: never."""

    def __post_init__(self) -> None:
        for name in ("concurrency", "rpm", "tpm", "budget"):
            value, least = getattr(self, name), 0 if name == "budget" else 1
            check(value is None or value >= least, f"teacher.{name}", value, f"at least {least}")
        for name in ("input_price", "cached_price", "output_price"):
            value = getattr(self, name)
            check(value is None or value >= 0, f"teacher.{name}", value, "0 or more (US dollars a million tokens)")
        both = (self.input_price is None) == (self.output_price is None)
        check(both, "teacher.output_price", self.output_price, "given together with teacher.input_price")
        ways = get_args(get_type_hints(type(self))["structured"])
        check(self.structured in ways, "teacher.structured", self.structured, f"one of {', '.join(ways)}")
        check(self.batch_poll > 0, "teacher.batch_poll", self.batch_poll, "above 0 (seconds)")
        check(0 < self.max_failing <= 1, "teacher.max_failing", self.max_failing, "above 0 and at most 1")
        check(self.attempts >= 1, "teacher.attempts", self.attempts, "at least 1")
        check(self.retries >= 0, "teacher.retries", self.retries, "0 or more")
        check(self.timeout > 0, "teacher.timeout", self.timeout, "above 0 (seconds)")


@dataclass(frozen=True)
class EmbeddingSettings:
    """Phase 4: any sentence-transformers model. The default is found on the machine when its package is installed."""

    model: str = "sentence-transformers/all-MiniLM-L6-v2"
    prompt: str = ""
    """Put before each text, for models that want it, as `query: `."""
    backend: Literal["torch", "onnx", "onnx-int8"] = "torch"
    """What computes: torch (on a GPU where it finds one), or ONNX Runtime on the CPU, an extra; both in float32.
    `onnx-int8`: weights of 8 bits, 1.6 to 1.8 times as quick; of 1,000 instructions the cosine with float32 was 0.978
    at least and 0.993 on the mean, and 93 % of the ten nearest were kept (`benchmarks/clustering.py backends`)."""
    batch_tokens: int = 512
    """Tokens a batch, padding included. Decides speed and memory, and of a vector only the last digits
    (with `onnx-int8` more: its scale is that of the batch)."""

    def __post_init__(self) -> None:
        backends = get_args(get_type_hints(type(self))["backend"])
        check(self.backend in backends, "embedding.backend", self.backend, f"one of {', '.join(backends)}")
        check(self.batch_tokens >= 1, "embedding.batch_tokens", self.batch_tokens, "at least 1")


@dataclass(frozen=True)
class JudgeSettings:
    """The model that judges instances. All of it is ours."""

    model: str | None = None
    """None: another than the teacher where the endpoint is OpenAI's, else the teacher itself."""
    base_url: str | None = None
    """Where it answers; None: where the teacher does."""
    input_price: float | None = None
    """As `teacher.input_price`, of the judge; likewise the next two."""
    cached_price: float | None = None
    output_price: float | None = None
    size: int = 200
    """Instances judged, of as many instructions."""
    check_share: float = 0.25
    """Share of `size` by which the judge itself is checked, in each of three ways."""
    min_judge: float | None = None
    """Where given, all curated instances are judged, and kept only if every question that applies is answered yes with
    at least this confidence (0 to 1; 0: any). One without a usable judgement is dropped: nobody passed it."""
    max_tokens: int = 600
    """The longest reply. Raise it for a model that reasons before it answers: that counts."""

    def __post_init__(self) -> None:
        check(self.size >= 1, "judge.size", self.size, "at least 1")
        check(0 <= self.check_share <= 1, "judge.check_share", self.check_share, "in [0, 1]")
        check(self.min_judge is None or 0 <= self.min_judge <= 1, "judge.min_judge", self.min_judge, "in [0, 1]")
        check(self.max_tokens >= 1, "judge.max_tokens", self.max_tokens, "at least 1")
        for name in ("input_price", "cached_price", "output_price"):
            value = getattr(self, name)
            check(value is None or value >= 0, f"judge.{name}", value, "0 or more (US dollars a million tokens)")
        both = (self.input_price is None) == (self.output_price is None)
        check(both, "judge.output_price", self.output_price, "given together with judge.input_price")
