"""Any GGUF chat model as a local teacher: found on disk or on the Hub, and checked before it is loaded."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ...errors import TeacherError

SUFFIX = ".gguf"
# Below this number of parameters a model gets the prompts for small models. Our choice: 3B models follow rules.
_SMALL_PARAMETERS = 2.5e9
_SLOTS = 2
_MAX_CONTEXT = 12_288
"""Tokens of a request and its reply: the grouped prompts need more than 9,600."""
_WORKING_BYTES = 500_000_000
"""Compute buffers and the server, without weights and cache: models up to 3B used about 0.3 GB."""
_PREFERRED = "q4_k_m"


@dataclass(frozen=True)
class LocalModel:
    """A model file that this machine serves: `slots` requests at a time of `context` tokens with their replies.

    `name` is that of the journal and the card: `FILE.gguf`, or `REPO:FILE.gguf` from the Hub. `license` is that of the
    file's metadata or the Hub ("" if neither states one), `memory` the bytes of weights, key-value cache and buffers.
    """

    name: str
    path: Path
    num_parameters: int
    license: str
    slots: int
    context: int
    memory: int

    @property
    def is_small(self) -> bool:
        """Whether it gets the prompts for small models."""
        return self.num_parameters < _SMALL_PARAMETERS

    def describe(self) -> str:
        """Return name, size and license in a few words."""
        millions = self.num_parameters / 1e6
        size = f"{millions / 1000:.1f} billion" if millions >= 1000 else f"{millions:.0f} million"
        return f"{self.name} ({size} parameters, license: {self.license or 'not stated'})"


def is_gguf(model: str) -> bool:
    """Return whether a teacher's name is that of a GGUF file, or of a repository of such files."""
    repo = model.partition(":")[0]
    return model.endswith(SUFFIX) or (repo.count("/") == 1 and "gguf" in repo.lower() and ":" not in model)


def find_model(name: str) -> LocalModel:
    """Find a GGUF model (a path, `REPO:FILE.gguf` or `REPO` on the Hub), download it if needed, and read its header.

    Raise TeacherError if the extra `embedded` is not installed, the file cannot be found, downloaded or read, or this
    machine has too little memory for it.
    """
    require_packages("gguf", "psutil", "xllamacpp")
    import gguf
    import psutil

    license = ""
    if (path := Path(name)).is_file():
        shown = path.name
    elif "/" in name and not path.is_absolute() and (":" in name or not name.endswith(SUFFIX)):
        path, shown, license = _download(name)
    else:
        raise TeacherError(f"no file {name}: name a {SUFFIX} file, or REPO:FILE{SUFFIX} on the Hub")
    try:
        reader = gguf.GGUFReader(path)
        fields = {key: reader.fields[key].contents() for key in reader.fields if not key.startswith("tokenizer.ggml")}
        family = fields["general.architecture"]
        layers, heads = int(fields[f"{family}.block_count"]), int(fields[f"{family}.attention.head_count"])
        kv_heads = fields.get(f"{family}.attention.head_count_kv", heads)
        kv_heads = max(kv_heads) if isinstance(kv_heads, list) else int(kv_heads)
        width = int(fields.get(f"{family}.attention.key_length", int(fields[f"{family}.embedding_length"]) // heads))
        context = min(_MAX_CONTEXT, int(fields.get(f"{family}.context_length", _MAX_CONTEXT)))
        num_parameters = sum(int(tensor.n_elements) for tensor in reader.tensors)
    except (KeyError, ValueError, IndexError, OSError) as error:
        raise TeacherError(f"{path} is not a readable GGUF model ({type(error).__name__}: {error})") from None
    cache = 2 * 2 * layers * kv_heads * width * context * _SLOTS  # keys and values of 2 bytes
    memory = path.stat().st_size + cache + _WORKING_BYTES
    model = LocalModel(
        shown, path, num_parameters, str(fields.get("general.license") or license), _SLOTS, context, memory
    )
    available = psutil.virtual_memory().available
    if memory > available:
        raise TeacherError(
            f"{shown} needs {memory / 1e9:.1f} GB of memory and {available / 1e9:.1f} GB are available: choose a "
            "smaller model or quantization, or close other programs"
        )
    return model


def _download(name: str) -> tuple[Path, str, str]:
    """Return the path of a file of the Hub, its full name and the license of its repository."""
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    repo, _, file = name.partition(":")
    try:
        license = ""
        if not file:
            info = HfApi().model_info(repo)
            license = str(info.card_data.license or "") if info.card_data else ""
            files = [one.rfilename for one in info.siblings or () if one.rfilename.endswith(SUFFIX)]
            preferred = [one for one in files if _PREFERRED in one.lower()] or files
            if len(preferred) != 1:
                raise TeacherError(f"which file of {repo}? Name it as {repo}:FILE; it has {', '.join(files) or 'none'}")
            file = preferred[0]
        return Path(hf_hub_download(repo, file)), f"{repo}:{file}", license
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise TeacherError(f"cannot download {name} from the Hub: {reason}") from None


def require_packages(*names: str) -> None:
    """Raise a TeacherError with the command that installs them if packages of the extra `embedded` are missing."""
    for name in names:
        if find_spec(name) is None:
            raise TeacherError(
                f"a local teacher needs the package {name}: run `pip install 'auto-instruct-hf[embedded]'`"
            )
