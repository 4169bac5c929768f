"""The dataset card: YAML from facts, prose from a Jinja template."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets import DatasetDict, DatasetInfo
from datasets.info import DatasetInfosDict
from huggingface_hub import DatasetCard, DatasetCardData

_PACKAGE = Path(__file__).parent
# Beside the package in a checkout, inside it in an installed wheel.
_TEMPLATES = (_PACKAGE.parent / "dataset_card" / "README.md.jinja", _PACKAGE / "dataset_card" / "README.md.jinja")
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def render_card(configs: Mapping[str, DatasetDict], facts: Mapping[str, Any]) -> str:
    """Render the card.

    Args:
        configs: The published configs by name; `default` is the one that loads without a name.
        facts: The variables of the template.

    Returns:
        The text of README.md, YAML first.
    """
    data = DatasetCardData(
        language="en",
        task_categories=["text-generation"],
        size_categories=_size(sum(map(len, configs["default"].values()))),
        tags=["instruction-tuning", "synthetic", "auto-instruct"],
        configs=[_config(name, splits) for name, splits in configs.items()],
    )
    infos = {
        name: DatasetInfo(features=next(iter(splits.values())).features, config_name=name)
        for name, splits in configs.items()
    }
    DatasetInfosDict(infos).to_dataset_card_data(data)
    template = next(path for path in _TEMPLATES if path.is_file())
    return str(DatasetCard.from_template(data, template_path=str(template), **facts))


def _config(name: str, splits: DatasetDict) -> dict[str, Any]:
    data_files = [{"split": split, "path": f"data/{name}/{split}-*.parquet"} for split in splits]
    return {"config_name": name, "data_files": data_files} | ({"default": True} if name == "default" else {})


def _size(rows: int) -> str:
    return next((name for limit, name in _SIZES if rows < limit), "1M<n<10M")
