"""Made-up rows and a made-up build, for tests that need some and no teacher."""

import random
from pathlib import Path
from typing import Any

from datasets import ClassLabel, DatasetDict, Features

from auto_instruct_hf import Recipe, Teacher, read_seeds
from auto_instruct_hf.core import INSTANCES, INSTRUCTIONS, Trace, from_rows, instruction_id
from auto_instruct_hf.publishing import CardInputs, collect_report, write_build
from auto_instruct_hf.publishing.build_report import TableRow
from auto_instruct_hf.sampling import add_messages

FEATURES = Features({**INSTANCES, "cluster": ClassLabel(names=[f"topic {n}" for n in range(5)])})


MEANING = {"cosine": 0.0, "nearest": ""}


def instruction_rows(*texts: str) -> list[dict[str, Any]]:
    return [
        {
            "instruction_id": instruction_id(text),
            "instruction": text,
            "similarity": 0.1,
            "most_similar": "",
            **MEANING,
            "round": 0,
        }
        for text in texts
    ]


def make_rows(instructions: list[str], seed: int = 0) -> list[dict[str, Any]]:
    draw = random.Random(seed)
    rows = []
    for number, text in enumerate(instructions):
        start = {"instruction_id": f"i{number:04d}", "instruction": text, "attribute": "", "input": "", "output": "x"}
        kind, topic = draw.random() < 0.2, draw.randrange(5)
        same = {**start, "is_classification": kind, "cluster": topic}
        rows += [{**same, "instance_id": f"{number}-{instance}"} for instance in range(draw.randint(1, 3))]
    return rows


def distinct(count: int) -> list[str]:
    return [f"alpha{n} beta{n} gamma{n} delta{n}" for n in range(count)]


def make_build(out: Path) -> Path:
    """Write a build of 40 made-up instructions, as the pipeline leaves it."""
    rows = make_rows(distinct(40))
    parts = DatasetDict({"train": from_rows(rows[:-9], FEATURES), "test": from_rows(rows[-9:], FEATURES)})
    instances = add_messages(parts, cache_dir=out / "cache")
    sample = DatasetDict({name: part.select([0, 0, 1, 2]) for name, part in instances.items()})
    row = {"instruction_id": "i", "similarity": 0.5, "most_similar": "", **MEANING, "round": 0}
    instructions = from_rows([{**row, "instruction": text} for text in distinct(40)], INSTRUCTIONS)
    traces = {
        "bootstrap": Trace(facts={"stopped": "", "in_meaning": True}),
        "split": Trace(
            facts={
                "nearest": {"similarity": 0.25, "compared": 9, "held_out": 9},
                "in_meaning": {"cosine": 0.8994, "of_test": {"0.85": 0.123, "0.9": 0.0}},
            }
        ),
        "sample": Trace(facts={"most_draws": {"train": 2, "test": 2}, "repeated": {"train": 0, "test": 0}}),
    }
    table = [TableRow("instructions", (40, 40, 40, 40), (1, 2, 3, None))]
    configs, seeds = {"default": sample, "instances": instances}, read_seeds()
    with Teacher("gpt-4o", journal=out / "journal.sqlite") as teacher:
        report = collect_report(table, configs, seeds, teacher, Recipe(), traces, license="mit", language=None)
    write_build(out, report, Recipe(), CardInputs(instructions, instances, sample, seeds, None, 0.7), traces)
    return out
