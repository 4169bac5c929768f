"""Price the published recipe (10,000 instructions) at list price, from the tokens of the requests that would be sent.

The real prompts are filled in with real instructions by the real phases; a teacher that only counts answers from the
data. Counted: system and user messages, the schema as compact JSON, 4 tokens of framing a message and 3 a request;
replies as compact JSON, their keys and numbers included. Not counted: requests that are repeated, and the discount for
a repeated start (OpenAI's begins at 1,024 tokens, which these prompts do not reach). Assumed, because nothing here
measures it: how long an output is, how many candidates of the bootstrap are kept, that a batch costs half.

`one_by_one/` beside this file is a set of prompts that asks about each row alone, attributes in two requests: what the
package did before rows shared requests. As `prompts:` of a recipe it builds a dataset to compare with.

    python benchmarks/cost.py --data instructions.jsonl
"""

import json
import random
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import genai_prices
import typer

from auto_instruct_hf.clustering.topics import name_table
from auto_instruct_hf.core.schema import ATTRIBUTED, INSTRUCTIONS
from auto_instruct_hf.core.texts import instruction_id, text_or_nothing
from auto_instruct_hf.core.transform import columns
from auto_instruct_hf.generation.attribution import attribute_batch
from auto_instruct_hf.generation.bootstrap import draw_batch
from auto_instruct_hf.generation.completion import complete_batch
from auto_instruct_hf.generation.instruction_pool import InstructionPool
from auto_instruct_hf.generation.seeds import read_seeds
from auto_instruct_hf.prompts.prompt import Message, Prompt, load_prompts
from auto_instruct_hf.recipe import AttributionSettings, BootstrapSettings, ClusteringSettings, CompletionSettings
from auto_instruct_hf.teacher.exchange import Reply, Request

try:
    from bpe_openai import get_encoding
except ImportError:
    raise SystemExit("this needs a tokenizer with o200k_base: pip install bpe-openai") from None

ONE_BY_ONE = Path(__file__).parent / "one_by_one"
MODEL = "gpt-4o"
INSTRUCTIONS_WANTED = 10_000
TOPICS = 50
PUBLISHED_DOLLARS = 80
BATCH_SHARE = 0.5
ROWS_A_BATCH = 1000
MESSAGE_FRAMING, REQUEST_FRAMING = 4, 3
OTHER_LENGTHS = (50, 100, 150, 200)
MAX_STRATEGIES = AttributionSettings().max_strategies
_ENCODING = get_encoding("o200k_base")

Row = dict[str, Any]


@cache
def count_tokens(text: str) -> int:
    """Return the number of tokens of a text."""
    return len(_ENCODING.encode(text))


def as_json(value: object) -> str:
    """Return compact JSON, as models write it under a schema."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class Filled(list[Message]):
    """Messages that remember what they were filled in with."""

    variables: dict[str, Any]


class Noting(Prompt):
    """A prompt whose messages remember their variables."""

    def messages(self, **variables: Any) -> Filled:
        """Fill in the variables."""
        filled = Filled(super().messages(**variables))
        filled.variables = variables
        return filled


@dataclass
class Tally:
    """Sums of one phase."""

    requests: float = 0
    tokens_in: float = 0
    tokens_out: float = 0

    def times(self, factor: float) -> "Tally":
        """Return the sums of so many times the work."""
        return Tally(*(getattr(self, item.name) * factor for item in fields(self)))

    def dollars(self) -> float:
        """Return the list price."""
        usage = genai_prices.Usage(input_tokens=round(self.tokens_in), output_tokens=round(self.tokens_out))
        return float(genai_prices.calc_price(usage, model_ref=MODEL, provider_id="openai").total_price)


class Counter:
    """A teacher that knows the answers and counts.

    Args:
        rows: The instructions with their attributes.
        output_tokens: Length of an output.
        input_tokens: Length of the input that a label gets.
    """

    def __init__(self, rows: Sequence[Row], output_tokens: float, input_tokens: float) -> None:
        self._rows = {row["instruction"]: row for row in rows}
        self._lengths = {"output": output_tokens, "input": input_tokens}
        self.tally = Tally()

    def ask(self, requests: Sequence[Request]) -> list[Reply]:
        """Answer from the data."""
        replies = []
        for request in requests:
            prompt, variables = request.prompt, request.messages.variables  # type: ignore[attr-defined]
            self.tally.requests += 1
            self.tally.tokens_in += count_tokens(as_json(prompt.schema)) + REQUEST_FRAMING
            self.tally.tokens_in += sum(count_tokens(one["content"]) + MESSAGE_FRAMING for one in request.messages)
            if prompt.is_grouped:
                shape = prompt.schema["properties"]["answers"]["items"]
                content = {"answers": [self._answer(prompt.name, shape, item) for item in variables["items"]]}
            else:
                content = self._answer(prompt.name, prompt.schema, variables)
            self.tally.tokens_out += count_tokens(as_json(content))
            replies.append(Reply(content))
        return replies

    def _answer(self, prompt: str, shape: Mapping[str, Any], variables: Row) -> Row:
        if prompt == "bootstrap":
            return {"instructions": random.Random(variables["pick"]).sample(list(self._rows), variables["count"])}
        if prompt == "topic":
            return {"number": variables.get("number"), "topic": "Household and everyday life"}
        known = {**self._rows[variables["instruction"]], "number": variables.get("number")}
        if prompt in self._lengths:  # the text itself counts by its length, its place holder by nothing
            self.tally.tokens_out += self._lengths[prompt] - 1
            known[prompt] = "x"
        return {name: known[name] for name in shape["properties"]}


def read_rows(path: Path | None) -> list[Row]:
    """Return instructions with what attribution says of them: those of a file, or of the bundled seeds."""
    if path is None:
        # Seeds have no strategies: two of those that the small set of prompts offers stand in for them.
        shown = load_prompts("small")["strategies"].schema["properties"]["strategies"]["items"]["enum"]
        given = [
            {**row, "labels": [row["output"]] * 3 if row["is_classification"] else [], "strategies": shown[2:4]}
            for row in read_seeds()
        ]
        for row in given:
            row["labels"] = [f"{label} {number}" for number, label in enumerate(row["labels"])]
    else:
        given = [_read(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    unique = {row["instruction"]: row for row in given}
    for row in unique.values():
        if row["is_classification"]:
            row.update(input=None, strategies=[])
        row["input"] = row["input"] or None
    return list(unique.values())


def _read(row: Row) -> Row:
    is_classification = row["is_classification"] == "Yes"
    text = row.get("labels") or row.get("output_type") or ""
    sentences = [] if is_classification or not text_or_nothing(text) else re.split(r"(?<=[.!?])\s+", text.strip())
    return {
        "instruction": row["instruction"],
        "is_classification": is_classification,
        "labels": [label.strip() for label in text.split(",")] if is_classification else [],
        "input": text_or_nothing(row.get("input")),
        "strategies": sentences[:MAX_STRATEGIES],
    }


def measure(
    rows: Sequence[Row], prompts: str, sizes: tuple[int, int], counter: Any, acceptance: float
) -> dict[str, Tally]:
    """Count the tokens of all phases, scaled to the instructions wanted.

    Args:
        rows: As `read_rows` returns them.
        prompts: A set of prompts.
        sizes: The most instructions, and instances, that share a request.
        counter: Makes a teacher that counts.
        acceptance: Share of the bootstrap's candidates that are kept.

    Returns:
        The sums by phase.
    """
    noting = {
        name: Noting(**{item.name: getattr(one, item.name) for item in fields(Prompt)})
        for name, one in load_prompts(prompts).items()
    }
    teachers = {phase: counter() for phase in ("bootstrap", "attribute", "complete", "topics")}
    settings = BootstrapSettings()
    growth = InstructionPool(
        list(read_seeds()), INSTRUCTIONS_WANTED, 0.1, 42, settings, per_request=settings.instructions_per_request
    )
    growth.admitted += [{"instruction": row["instruction"], "domain": "", "classification": False} for row in rows]
    asked = []
    for _ in range(4):
        asked += growth.plan()
        growth.judge([])
    draw_batch(columns(asked, asked[0]), ask=teachers["bootstrap"].ask, prompt=noting["bootstrap"], settings=settings)
    for start in range(0, len(rows), ROWS_A_BATCH):
        found = attribute_batch(
            columns(
                [
                    {
                        "instruction_id": instruction_id(row["instruction"]),
                        "similarity": 0.0,
                        "most_similar": "",
                        "cosine": 0.0,
                        "nearest": "",
                        "round": 0,
                        **row,
                    }
                    for row in rows[start : start + ROWS_A_BATCH]
                ],
                INSTRUCTIONS,
            ),
            ask=teachers["attribute"].ask,
            prompts=noting,
            settings=AttributionSettings(instructions_per_request=sizes[0]),
        )
        assert not any(found.pop("rejected"))
        batch = {name: found[name] for name in ATTRIBUTED}
        complete_batch(batch, ask=teachers["complete"].ask, prompts=noting, settings=CompletionSettings(sizes[1]))
    draw = random.Random(1)
    topics = [
        {
            "instructions": [row["instruction"] for row in draw.sample(rows, 8)],
            "keywords": ["house", "plan", "week", "budget", "water", "list"],
        }
        for _ in range(TOPICS)
    ]
    limit = ClusteringSettings().topic_tokens
    name_table(columns(topics, topics[0]), ask=teachers["topics"].ask, prompt=noting["topic"], max_tokens=limit)
    requests_wanted = INSTRUCTIONS_WANTED / settings.instructions_per_request / acceptance
    factors = {"bootstrap": requests_wanted / len(asked), "topics": 1.0}
    return {
        phase: teacher.tally.times(factors.get(phase, INSTRUCTIONS_WANTED / len(rows)))
        for phase, teacher in teachers.items()
    }


def main(
    data: Annotated[
        Path | None,
        typer.Option(
            help="JSON Lines: instruction, input (None where there is none), is_classification (Yes or No), "
            "output_type (strategies as sentences) or labels (with commas). Else the bundled seeds."
        ),
    ] = None,
    output_tokens: Annotated[
        float | None, typer.Option(help="Mean tokens of an output; else that of the bundled seeds.")
    ] = None,
    acceptance: Annotated[float, typer.Option(help="Share of the bootstrap's candidates that are kept.")] = 0.7,
) -> None:
    """Print what a build costs, by phase and by how many rows share a request."""
    rows, seeds = read_rows(data), list(read_seeds())
    length = output_tokens or _mean_length(row["output"] for row in seeds if not row["is_classification"])
    given = _mean_length(row["input"] for row in seeds if row["is_classification"])
    own = (AttributionSettings().instructions_per_request, CompletionSettings().instances_per_request)
    ways = {"as before: one by one, two for attributes": (str(ONE_BY_ONE), (1, 1))}
    ways |= {f"{size} a request": ("default", (size, size)) for size in (1, 4, 8, 10, 20)}
    ways |= {f"the recipe: {own[0]} and {own[1]}": ("default", own)}

    def price_of(way: str, tokens: float) -> dict[str, Tally]:
        return measure(rows, *ways[way], lambda: Counter(rows, tokens, given), acceptance)

    instances = sum(len(row["labels"] or row["strategies"] or [""]) for row in rows) * INSTRUCTIONS_WANTED / len(rows)
    print(f"{len(rows)} instructions measured, scaled to {INSTRUCTIONS_WANTED:,}, with {instances:,.0f} instances.")
    print(
        f"Assumed: an output is {length:.0f} tokens, a label's input {given:.0f}, {acceptance:.0%} of candidates kept."
    )
    print(f"List price of {MODEL} by genai_prices; a batch costs {BATCH_SHARE:.0%} of it.")
    print("\nTokens in + out: an accepted instruction for bootstrap and attributes, an instance for completion.\n")
    print(f"{'':42}{'bootstrap':>15}{'attributes':>15}{'completion':>15}{'requests':>10}{'online':>9}{'batch':>9}")
    for way in ways:
        found = price_of(way, length)
        phases = [("bootstrap", INSTRUCTIONS_WANTED), ("attribute", INSTRUCTIONS_WANTED), ("complete", instances)]
        cells = [f"{found[name].tokens_in / n:.1f} + {found[name].tokens_out / n:.1f}" for name, n in phases]
        dollars = sum(one.dollars() for one in found.values())
        requests = sum(one.requests for one in found.values())
        print(
            f"{way:42}{''.join(f'{cell:>15}' for cell in cells)}{requests:>10,.0f}"
            f"{dollars:>9.2f}{dollars * BATCH_SHARE:>9.2f}"
        )
    print(f"{'as published (half of it in batches)':42}{PUBLISHED_DOLLARS:>64.2f}")
    print(f"\nDollars by phase, the recipe (with {TOPICS} topics):")
    found = price_of([*ways][-1], length)
    print("  " + ", ".join(f"{name} {one.dollars():.2f}" for name, one in found.items()))
    print("\nDollars online by the length of an output in tokens:\n")
    lengths = sorted({*OTHER_LENGTHS, round(length)})
    print(f"{'':42}{''.join(f'{tokens:>9}' for tokens in lengths)}")
    for way in (next(iter(ways)), [*ways][-1]):
        totals = [sum(one.dollars() for one in price_of(way, tokens).values()) for tokens in lengths]
        print(f"{way:42}{''.join(f'{total:>9.2f}' for total in totals)}")


def _mean_length(texts: Any) -> float:
    """Return the mean number of tokens of texts as they stand inside JSON."""
    return statistics.mean(count_tokens(as_json(text)[1:-1]) for text in texts)


if __name__ == "__main__":
    typer.run(main)
