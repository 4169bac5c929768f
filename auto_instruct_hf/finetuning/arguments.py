"""TRL's own arguments, read by its own parser, with defaults of ours; and the YAML file that `trl sft` takes."""

import copy
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import yaml

from ..errors import RecipeError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from trl import ModelConfig, SFTConfig, TrlParser

# Ours. On a CPU: what 135 million parameters take in a few minutes and 4 GB.
_CPU: dict[str, Any] = {
    "max_steps": 12,
    "per_device_train_batch_size": 1,
    "gradient_accumulation_steps": 8,
    "max_length": 192,
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
}
_GPU: dict[str, Any] = {
    "num_train_epochs": 2.0,
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 2,
    "max_length": 1024,
    "warmup_steps": 0.05,
}
_BOTH: dict[str, Any] = {
    "learning_rate": 0.0,  # choose one of RATES
    "completion_only_loss": True,
    "report_to": "none",
    "logging_steps": 1,
    "disable_tqdm": True,
    "save_strategy": "no",  # checkpoints are saved by time
    "save_total_limit": 1,
    "seed": 1,
}
# Ours: usual rates for full fine-tuning of small models, and for LoRA.
FULL_RATES, LORA_RATES = (2e-5, 5e-5), (1e-4, 3e-4)
# The same run with another of these trains the same model.
_OF_A_RUN = (
    *("output_dir", "max_steps", "per_device_train_batch_size", "gradient_accumulation_steps"),
    *("learning_rate", "seed", "data_seed"),
    *("packing", "padding_free", "max_length"),
)
_OF_OURS = ("output_dir", "disable_tqdm", "save_strategy", "save_total_limit", "logging_steps")


@dataclass(frozen=True)
class TrainingArguments:
    """What TRL trains with, and the learning rates to choose from."""

    sft: "SFTConfig"
    model: "ModelConfig"
    rates: tuple[float, ...]
    given: Mapping[str, Any]
    """The arguments that differ from TRL's defaults, ready for YAML."""

    @property
    def batch_size(self) -> int:
        """Rows, or blocks of packed rows, of a forward pass on one device; an arm may have fewer."""
        return int(self.sft.per_device_train_batch_size)

    @property
    def num_devices(self) -> int:
        """Number of processes that `accelerate launch` started, each on a device of its own."""
        return max(1, int(self.sft.world_size))

    def loading(self) -> dict[str, Any]:
        """Return what `from_pretrained` takes besides the name and the quantization."""
        given = self.sft.model_init_kwargs
        return {
            "revision": self.model.model_revision,
            "attn_implementation": self.model.attn_implementation,
            "dtype": self.model.dtype,
            **(given if isinstance(given, dict) else {}),
        }

    def for_run(self, folder: Path, steps: int, rows_per_step: int, rate: float, seed: int) -> "SFTConfig":
        """Return the arguments of one training run of a known number of steps and rows per step, in its folder.

        With packing, the rows are blocks that are packed already, which TRL concatenates without padding.
        """
        sft = copy.copy(self.sft)
        rows = rows_per_step // self.num_devices
        passes = next(passes for passes in range(-(-rows // self.batch_size), rows + 1) if rows % passes == 0)
        changes = {
            "output_dir": str(folder),
            "max_steps": steps,
            "per_device_train_batch_size": rows // passes,
            "gradient_accumulation_steps": passes,
            "learning_rate": rate,
            "seed": seed,
            "data_seed": seed,
            **({"packing": False, "padding_free": True, "max_length": None} if sft.packing else {}),
        }
        for name, value in changes.items():
            setattr(sft, name, value)
        sft.model_init_kwargs = self.loading()
        return sft

    def to_key(self) -> dict[str, Any]:
        """Return the arguments that affect what is trained, ready for JSON."""
        return {name: value for name, value in self.given.items() if name not in _OF_OURS}

    def to_yaml(self, sft: "SFTConfig", dataset: Path) -> str:
        """Return a configuration for `trl sft --config`: the arguments of a run, and the folder of its rows."""
        content = {
            "model_name_or_path": self.model.model_name_or_path,
            "dataset_name": str(dataset),
            **{name: value for name, value in self.given.items() if name != "disable_tqdm"},
            **{name: getattr(sft, name) for name in _OF_A_RUN},
        }
        return yaml.safe_dump(content, sort_keys=False)


def parse_arguments(arguments: Sequence[str], *, has_gpu: bool) -> TrainingArguments:
    """Parse TRL's arguments, such as `--max_steps 100 --use_peft`, and `--config FILE.yaml` with the same names.

    Args:
        arguments: As on a command line; those not given have defaults of ours for a GPU or a CPU, else TRL's.
        has_gpu: Which of the defaults apply.

    Returns:
        The arguments; without `--learning_rate`, two rates to choose from.

    Raises:
        RecipeError: If an argument is unknown or has a value that TRL does not take.
    """
    from trl import ModelConfig, SFTConfig, TrlParser

    parser = TrlParser([SFTConfig, ModelConfig])  # type: ignore[list-item]  # a NewType of dataclasses
    parser.error = _fail  # type: ignore[method-assign]
    parser.set_defaults_with_config(**_BOTH, **(_GPU if has_gpu else _CPU))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # transformers is about to rename some of them
            sft, model = parser.parse_args_and_config(args=list(arguments))
    except (ValueError, TypeError, OSError, yaml.YAMLError) as error:
        _fail(" ".join(str(error).split()))
    if sft.packing and sft.packing_strategy != "bfd":
        _fail("--packing keeps rows whole here: leave --packing_strategy out")
    if sft.packing and not sft.max_length:
        _fail("--packing needs --max_length, the length of a block")
    if sft.push_to_hub or sft.hub_token:
        _fail(
            "--push_to_hub and --hub_token would push a model for each run: push the one of `trl sft --config sft.yaml`"
        )
    if sft.chat_template_path and not sft.chat_template_path.endswith((".jinja", ".j2")):
        _fail("--chat_template_path should be a file with the ending .jinja or .j2 here")
    if sft.n_gpu > 1:
        _fail("there are several GPUs: start with `accelerate launch`, or let one be seen with CUDA_VISIBLE_DEVICES=0")
    rates = (sft.learning_rate,) if sft.learning_rate else LORA_RATES if model.use_peft else FULL_RATES
    return TrainingArguments(sft, model, rates, _list_given(parser, arguments, (SFTConfig, ModelConfig)))


def _fail(message: str) -> NoReturn:
    raise RecipeError(f"TRL does not take these arguments: {message}")


def _list_given(
    parser: "TrlParser", arguments: Sequence[str], kinds: Sequence[type["DataclassInstance"]]
) -> dict[str, Any]:
    """Return the values that differ from TRL's defaults, as they were given: its classes replace some of them."""
    rest = list(arguments)
    if "--config" in rest:  # its values are the parser's defaults by now
        place = rest.index("--config")
        del rest[place : place + 2]
    values = vars(parser.parse_known_args(rest)[0])
    found = {one.name: values[one.name] for kind in kinds for one in fields(kind) if one.name in values}
    standard = {one.name: one.default for kind in kinds for one in fields(kind) if one.default is not MISSING}
    return {name: value for name, value in found.items() if value not in (None, "", []) and value != standard.get(name)}
