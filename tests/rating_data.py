"""Made-up rows and a made-up build to rate."""

import json
from pathlib import Path
from typing import Any

from datasets import Dataset

from auto_instruct_hf.core import INSTANCES, make_manifest, write_manifest


def make_rating_rows(count: int) -> list[dict[str, Any]]:
    """Rows in turn with a strategy, of classification, and with neither."""
    kinds: list[dict[str, Any]] = [
        {"is_classification": False, "attribute": "by example"},
        {"is_classification": True, "attribute": "good"},
        {"is_classification": False, "attribute": ""},
    ]
    texts = [{"instruction": f"Do {number}.", "input": "", "output": f"Done {number}."} for number in range(count)]
    return [
        {"instance_id": f"a{number}", "instruction_id": f"i{number}", **text, **kinds[number % 3]}
        for number, text in enumerate(texts)
    ]


def make_rating_build(out: Path, count: int) -> Path:
    folder = out / "dataset" / "data" / "instances"
    folder.mkdir(parents=True, exist_ok=True)
    data = Dataset.from_list(make_rating_rows(count), features=INSTANCES)
    data.to_parquet(folder / "train-00000-of-00001.parquet")
    report = {"title": "Made-up tasks", "seeds": {}, "teacher": {}, "configs": {"instances": ["train"]}}
    (out / "dataset" / "report.json").write_text(json.dumps(report), encoding="utf-8")
    (out / "dataset" / "recipe.yaml").write_text("", encoding="utf-8")
    write_manifest(out / "dataset", make_manifest(out / "dataset"))
    return out
