"""Secrets are in no file and no output of a run, whatever the servers repeat."""

import base64
import gzip
import html
import json
import re
import sqlite3
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import huggingface_hub
import pyarrow.parquet as pq
import pytest
import stub_teacher
from stub_hub import TOKEN, Failure, serve_hub
from stub_instances import patch_embedding, patch_plots, run_command
from stub_teacher import serve_stub

from auto_instruct_hf.core import hide_tokens
from auto_instruct_hf.errors import RecipeError
from auto_instruct_hf.recipe import TeacherSettings
from auto_instruct_hf.teacher import Endpoint
from auto_instruct_hf.teacher.redaction import Redaction, list_url_secrets

API_KEY = "sk-Q7/x+w=&k3y<9"
PASSWORD, QUERY_KEY = "pa$$w/rd+1", "qk-0a1b2c3d/4"
RECIPE = """
bootstrap: {requests_per_round: 4}
clustering: {num_clusters: 2, n_neighbors: 100}
teacher: {max_retries: 1, max_failing: 1}
"""


def shapes(secret: str) -> list[str]:
    """Return a secret as servers and libraries may repeat it."""
    escaped = "".join(f"\\u{ord(letter):04x}" if letter in "&<>" else letter for letter in secret)
    return [secret, f"Bearer {secret}", quote(secret, safe=""), html.escape(secret), escaped, json.dumps(secret)]


def repeating(secrets: list[str], asked: set[tuple[str, str]]) -> Callable[[Any], Any]:
    """Return what extends the handler of the stub teacher: it repeats the secrets in all that it says.

    The queries and authorizations of requests are added to `asked`.
    """
    all_shapes = [shape for secret in secrets for shape in shapes(secret)]
    words = " ".join(all_shapes)

    def extend(handler: Any) -> Any:
        class Repeating(handler):  # type: ignore[misc]
            def do_POST(self) -> None:  # noqa: N802
                self.path, _, query = self.path.partition("?")
                asked.add((query, self.headers["Authorization"]))
                self.headers.replace_header("Authorization", f"Bearer {stub_teacher.KEY}")
                super().do_POST()

            def _send(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
                if status != 200:
                    body = {"error": {"message": f"refused: {words}", "url": words}}
                elif isinstance(body, dict):
                    message = body["choices"][0]["message"]
                    if message.get("refusal"):
                        message["refusal"] += words
                    elif message["content"].startswith("{") and message["content"].endswith("}"):
                        answer = add(json.loads(message["content"]))
                        message["content"] = json.dumps(answer).replace("/", "\\/").replace("&", "\\u0026")
                    else:
                        message["content"] += words
                super()._send(status, body, {"X-Key": secrets[0], **(headers or {})})

        return Repeating

    def add(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: add(one) for name, one in value.items()}
        if isinstance(value, list):
            return [add(one) for one in value]
        shape = all_shapes[len(str(value)) % len(all_shapes)]
        return f"{value} {shape}" if isinstance(value, str) and value != "None" else value

    return extend


def contents(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield name and content of all files below a folder; also what is compressed in them, as text."""
    for path in filter(Path.is_file, folder.rglob("*")):
        raw = path.read_bytes()
        yield str(path), raw.decode("utf-8", "replace")
        if raw.startswith(b"PAR1"):
            table = pq.read_table(path)
            yield f"{path} (rows)", f"{table.to_pylist()} {table.schema.metadata}"
        elif raw.startswith(b"SQLite format 3\0"):
            with sqlite3.connect(path) as file:
                yield f"{path} (rows)", "\n".join(file.iterdump())
        elif raw.startswith(b"\x1f\x8b"):
            yield f"{path} (decompressed)", gzip.decompress(raw).decode("utf-8", "replace")
        elif zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as file:
                yield from (
                    (f"{path} ({name})", file.read(name).decode("utf-8", "replace")) for name in file.namelist()
                )


def assert_hidden(secrets: list[str], name: str, content: str) -> None:
    plain = re.sub(r"\\+(/|u[0-9a-fA-F]{4})", lambda found: json.loads(f'"\\{found[1]}"'), content)
    for secret in secrets:
        for shape in {*shapes(secret), base64.b64encode(secret.encode()).decode()}:
            at = plain.lower().find(shape.lower())
            assert at < 0, f"{name}: ...{plain[max(at - 200, 0) : at + 100]}..."


@pytest.mark.parametrize("in_url", [False, True])
def test_no_file_and_no_output_of_a_run_holds_a_secret(
    in_url: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    patch_embedding(monkeypatch)
    patch_plots(monkeypatch)
    for name, value in {"OPENAI_API_KEY": API_KEY, "HF_TOKEN": TOKEN, "JUDGE_API_KEY": API_KEY}.items():
        monkeypatch.setenv(name, value)
    for name, value in {"HF_HUB_OFFLINE": False, "HF_HUB_DISABLE_XET": True}.items():
        monkeypatch.setattr(huggingface_hub.constants, name, value)
    monkeypatch.setattr("auto_instruct_hf.publishing.hub._SECONDS_TO_WAIT", 0.05)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    out, secrets, asked = tmp_path / "out", [API_KEY, TOKEN], set[tuple[str, str]]()
    if in_url:
        secrets += [PASSWORD, QUERY_KEY, f"user:{PASSWORD}"]
    said: list[str] = []

    def run(*arguments: object, exit_code: int = 0) -> None:
        done = run_command(*arguments)
        said.append(done.output + "".join(capfd.readouterr()))
        assert done.exit_code == exit_code, done.output

    faults = {"poison": 0.1, "refused": 0.2, "broken": 0.1, "error500": 0.1}
    with serve_stub(repeating(secrets, asked), faults=faults, poison=400) as stub, serve_hub() as hub:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.url)
        url = stub.url
        if in_url:
            url = url.replace("//", f"//user:{quote(PASSWORD, safe='')}@")
            url += f"?api_key={QUERY_KEY}&api-version=2024-10-21"
        options = ("--teacher", "stub", "--base-url", url, "--recipe", tmp_path / "recipe.yaml")
        run("build", *options, "--out", out, "--preview", 3)
        run("build", *options, "--out", out, "--num-instructions", 12)
        run("evaluate", out, "--judge", "stub", "--judge-base-url", url, "--size", 6, "--no-embeddings", *options[4:])
        run("journal", out)
        run("journal", out, "--grep", "***")
        run("journal", out, "--export-failures", tmp_path / "failures.jsonl")
        stub.down = 401
        run("build", *options, "--out", tmp_path / "refused", exit_code=1)
        hub.failures.append(Failure("repos/create", status=400))
        run("push", out, "alice/tasks", exit_code=1)
        run("push", out, "alice/tasks")
    basic = base64.b64encode(f"user:{PASSWORD}".encode()).decode()
    in_parts = (f"api_key={QUERY_KEY}&api-version=2024-10-21", f"Basic {basic}")
    assert asked == {in_parts if in_url else ("", f"Bearer {API_KEY}")}
    (tmp_path / "pushed").mkdir()
    for name, content in hub.repos["alice/tasks"].find().files.items():
        (tmp_path / "pushed" / name.replace("/", " ")).write_bytes(content)
    found = dict(contents(tmp_path))
    assert any("***" in content for name, content in found.items() if "rows" in name)
    assert {"journal.sqlite", "evaluation.html"} <= {Path(name).name for name in found}
    for name, content in [*found.items(), *((f"output {number}", text) for number, text in enumerate(said))]:
        assert_hidden(secrets, name, content)


@pytest.mark.parametrize("key", ["EMPTY", "ollama", "test", "placeholder", "12345", "none"])
def test_a_key_that_may_be_a_word_is_left_in_replies_only(key: str) -> None:
    redaction = Redaction([key])
    assert redaction.hide(f"The list is {key}.") == f"The list is {key}."
    assert redaction.shorten("wrong key ollama, EMPTY, test, placeholder or 12345").count("***") == (key != "none")


@pytest.mark.parametrize("shape", shapes(API_KEY))
def test_a_key_is_hidden_in_any_form(shape: str) -> None:
    hidden = Redaction([API_KEY]).hide(json.dumps({"output": f"It is {shape}."}))
    assert json.loads(hidden)["output"].replace("Bearer ", "").strip('It is".') == "***"


def test_values_of_a_query_that_are_no_keys_are_left() -> None:
    secrets = list_url_secrets("https://host/v1?api-version=2024-10-21&api_key=abc-123-def")
    assert Redaction(secrets).hide("On 2024-10-21: abc-123-def") == "On 2024-10-21: ***"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://user:pa55word@host/v1?api_key=pa55word", "user:pa55word@host/v1", "http:/user:pa55word@host",
        "https://user:pa55word@/v1#pa55word", "http://user:pa55@word@host:99999/v1",
    ],
)  # fmt: skip
def test_a_base_url_that_is_none_is_refused_without_its_secrets(url: str) -> None:
    with pytest.raises(RecipeError, match="is not the base URL of an endpoint") as refused:
        Endpoint("m", url, None, TeacherSettings())
    assert not re.search("pa55|word", str(refused.value))


def test_messages_of_the_hub_have_no_tokens() -> None:
    url = "https://host/file?X-Signature=abc"
    assert hide_tokens(f"{TOKEN} Bearer abc.d-e {url} no") == "hf_*** Bearer *** https://host/file no"
