"""The rating page in a browser, by keys alone, and the command around it."""

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from datasets import load_dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from rating_data import make_rating_build, make_rating_rows
from stub_hub import serve_hub
from stub_instances import run_command

from auto_instruct_hf.evaluation.questions import NAMES, QUESTIONS, applies
from auto_instruct_hf.evaluation.rating import open_store
from auto_instruct_hf.evaluation.rating.app import serve_page

pytest.importorskip("gradio", reason="the page needs gradio: pip install 'auto-instruct-hf[rating]'")

ROOT = Path(__file__).parents[1]
RATE = ROOT / "scripts" / "rate.py"
CHROMIUM = Path("/usr/bin/chromium")
KEYS = {True: "y", False: "n", None: "u"}
TAGS = "<img src=x onerror='window.hacked = 1'><script>window.hacked = 1</script>"
EVIL = f"{TAGS} **bold** [x](javascript:1) $x$\n# head"
rate = partial(run_command, "rate")
ENV = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "tests" / "offline"), str(ROOT)])}


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def running(command: list[Any], url: str, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the block ends; the block begins when it answers."""
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(list(map(str, command)), **pipes, **options) as child:
        try:
            while fetch(url) is None:
                assert child.poll() is None, child.communicate()[0].decode()
                time.sleep(0.05)
            yield child
        finally:
            child.send_signal(signal.SIGKILL)


def fetch(url: str) -> str | None:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return str(answer.read().decode())
    except (urllib.error.URLError, ConnectionError):
        return None


class Rater:
    """A person who uses only keys and what the page shows."""

    def __init__(self, page: Any, name: str, items: list[dict[str, Any]]) -> None:
        self.page, self.items, self.chance = page, items, random.Random(name)
        self.said: dict[int, dict[str, Any]] = {}
        self.press_and_wait(name, "Enter")

    def press_and_wait(self, *keys: str) -> None:
        """Press keys, the last of which sends a request, and wait until the page shows the response."""
        for key in keys[:-1]:
            self.page.keyboard.type(key)
        before = self.page.evaluate("document.body.dataset.ready ?? 0")
        self.page.keyboard.press(keys[-1])
        self.page.wait_for_function(f"Number(document.body.dataset.ready ?? 0) > {before}")

    def position(self) -> int:
        return int(self.page.locator("#progress [data-position]").get_attribute("data-position"))

    def answer(self, note: str = "") -> None:
        """Answer all questions of the item that is shown at random, and save."""
        position = self.position()
        asked = [question.name for question in QUESTIONS if applies(question, self.items[position - 1])]
        assert self.page.locator("#questions fieldset").count() == len(asked)
        words = {name: self.chance.choice([True, True, False, None]) for name in asked}
        self.said[position] = {**dict.fromkeys(NAMES), **words, "reason": note}
        if note:
            self.page.keyboard.press("c")
            self.page.keyboard.type(note)
            self.page.keyboard.press("Escape")
        self.press_and_wait(*(KEYS[word] for word in words.values()), "Enter")

    def reload(self) -> None:
        self.page.reload()
        self.page.wait_for_function("Number(document.body.dataset.ready ?? 0) > 0")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not there: apt-get install chromium")
    sync = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    with sync.sync_playwright() as playwright:
        one = playwright.chromium.launch(executable_path=str(CHROMIUM))
        yield one
        one.close()


@contextmanager
def opened(browser: Any, url: str) -> Iterator[tuple[Any, set[str | None]]]:
    """Open a page in its own browser context; yield it and the set of hosts that it sends requests to."""
    context, hosts = browser.new_context(), set()
    context.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
    context.on("weberror", lambda error: hosts.add(str(error.error)))
    page = context.new_page()
    page.goto(url)
    page.wait_for_selector("#name:visible")
    yield page, hosts - {None}
    context.close()


class Caller:
    """Sends steps of the page over HTTP, as its buttons do, with any values."""

    def __init__(self, url: str, session: str = "") -> None:
        self.client, self.session = httpx2.Client(base_url=url, timeout=30), session
        self.config = self.client.get("config").json()
        self.ids = {one["props"].get("elem_id"): one["id"] for one in self.config["components"]}

    def post(self, button: str, *values: Any) -> httpx2.Response:
        target = [self.ids[button], "click"]
        step = next(one for one in self.config["dependencies"] if target in one["targets"])
        content = json.dumps({"fn_index": step["id"], "data": values, "session_hash": self.session})
        self.outputs = step["outputs"]
        return self.client.post("gradio_api/run/predict", content=content, headers={"content-type": "application/json"})

    def send(self, button: str, *values: Any) -> tuple[str, int]:
        """Return the message of the page and the position of the item that it shows; 0: none."""
        response = self.post(button, *values)
        assert response.status_code == 200, response.text
        shown = dict(zip(self.outputs, response.json()["data"], strict=True))
        found = re.search(r'data-position="(\d+)"', str(shown[self.ids["progress"]]))
        return re.sub("<.*?>", "", str(shown[self.ids["message"]])), int(found[1]) if found else 0


@pytest.fixture(scope="module")
def page_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("page")
    with open_store(folder / "ratings.sqlite") as store:
        store.add_items(make_rating_rows(100), 42)
        page = serve_page(store, 2, "Some tasks", server_port=free_port())
        yield str(page.local_url)
        page.close(verbose=False)


@pytest.fixture(scope="module")
def caller(page_url: str) -> Caller:
    return Caller(page_url)


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "", {}, 200),
        ("GET", "", {"Host": "evil.example"}, 403),  # DNS rebinding
        ("GET", "gradio_api/info", {"Origin": "http://evil.example"}, 403),
        ("POST", "gradio_api/upload", {}, 403),
        ("POST", "gradio_api/queue/join", {}, 403),
        ("POST", "gradio_api/run/predict", {"Origin": "http://evil.example"}, 403),
        ("GET", "gradio_api/file=/etc/passwd", {}, 403),
    ],
)
def test_the_page_answers_only_to_itself(
    page_url: str, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    assert httpx2.request(method, page_url + path, headers=headers).status_code == status


NO_TEXT, NO_NUMBER = "Input should be a valid string", "Input should be a valid integer"


@pytest.mark.parametrize(
    ("button", "values", "message"),
    [
        ("start", [5], NO_TEXT),
        ("start", ["\ud800"], "no invisible characters"),
        ("start", ["x" * 1_000_000], "A name has 1 to 60 letters"),
        ("skip", ["Eve", "1"], NO_NUMBER),
        ("skip", ["Eve", float("nan")], NO_NUMBER),
        ("skip", ["Eve", True], NO_NUMBER),
        ("skip", ["Eve", -1], "greater than or equal to 1"),
        ("back", ["Eve", 2**64], "less than 9223372036854775808"),
        ("skip", ["Eve", 999], "There is no item 999"),
        ("save", ["Eve", None, "", "yes", "yes", "yes", "yes", "yes"], NO_NUMBER),
        ("save", ["Eve", 1, None, "yes", "yes", "yes", "yes", "yes"], NO_TEXT),
        ("save", ["Eve", 1, "\ud800", "yes", "yes", "yes", "yes", "yes"], NO_TEXT),
        ("save", ["Eve", 1, "x" * 10_001, "yes", "yes", "yes", "yes", "yes"], "at most 10000 characters"),
        ("save", ["Eve", 1, "", "yes", "yes", "yes", "maybe", "yes"], "should be &#x27;yes&#x27;, &#x27;no&#x27;"),
        ("save", ["Eve", 1, "", "yes", "yes", "yes", None, "yes"], "no answer yet"),
    ],
)
def test_odd_values_are_refused_in_words(caller: Caller, button: str, values: list[Any], message: str) -> None:
    assert message in caller.send(button, *values)[0]


@pytest.mark.parametrize("values", [[], ["Eve", 1, 2], ["Eve", [1]], ["Eve", {"path": "/etc/passwd"}]])
def test_what_is_no_step_of_the_page_does_not_reach_gradio(
    caller: Caller, values: list[Any], capfd: pytest.CaptureFixture[str]
) -> None:
    refused = caller.post("skip", *values)
    assert (refused.status_code, refused.text.count("\n")) == (403, 0)
    for content in (b"", b"\xff", b'{"fn_index": 99, "data": []}', b'{"fn_index": 1, "data": []}', b"[" * 100_000):
        assert caller.client.post("gradio_api/run/predict", content=content).status_code == 403
    assert capfd.readouterr().err == ""  # no traceback


@given(st.text(), st.text(max_size=10_000))
@settings(max_examples=30)
def test_any_name_and_note_are_kept_or_refused(caller: Caller, name: str, note: str) -> None:
    message, position = caller.send("start", name)
    if position:
        assert caller.send("save", name, position, note, "yes", "no", "cannot tell", "yes", "no")[0] == ""
        shown = caller.post("back", name, None).text
        assert json.dumps(note.strip(), ensure_ascii=False) in shown
    else:
        assert message.startswith("A name") or not name.strip()


@contextmanager
def heartbeat(url: str, session: str) -> Iterator[Caller]:
    """Stay on the page until the block ends, as a browser does."""
    with httpx2.stream("GET", f"{url}gradio_api/heartbeat/{session}", timeout=30) as alive:
        chunks = alive.iter_raw()  # without a reference to it the connection would be closed
        next(chunks)
        yield Caller(url, session)


def test_an_item_is_free_again_when_its_rater_leaves(tmp_path: Path) -> None:
    with open_store(tmp_path / "ratings.sqlite") as store:
        store.add_items(make_rating_rows(3), 42)
        page = serve_page(store, 1, "Some tasks", server_port=free_port())
        url = page.local_url
        eve = Caller(url)
        assert eve.config["connect_heartbeat"]  # a browser does as below

        def first_item_for(name: str) -> int:
            position = eve.send("start", name)[1]
            eve.send("another", name)  # leaves the item to others
            return position

        with heartbeat(url, "reloaded") as ann:
            with heartbeat(url, "old") as old:
                assert old.send("start", "Ann")[1] == 1
                assert ann.send("start", "Ann")[1] == 1
            time.sleep(0.2)
            assert first_item_for("Eve") == 2  # the end of the old session changes nothing
        found = (first_item_for(f"Eve {number}") for number in range(500))  # the server notices soon
        assert next(position for position in found if position != 2) == 1
        page.close(verbose=False)


def test_two_raters_rate_six_items_by_keys_through_a_reload_and_a_kill(browser: Any, tmp_path: Path) -> None:
    make_rating_build(tmp_path, 12)
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    command = [sys.executable, RATE, tmp_path, "--size", 6, "--port", port, "--no-browser"]
    with running(command, url, env=ENV) as server, open_store(tmp_path / "ratings.sqlite") as store:
        items = store.items()
        assert len(items) == 6
        with opened(browser, url) as (page, hosts), opened(browser, url) as (other, other_hosts):
            ann, bob = Rater(page, "Ann", items), Rater(other, "Bob", items)
            for step in range(3):
                assert ann.position() == step + 1 + (step > 1)
                ann.answer("sy nb 1" if step == 0 else "")
                bob.answer()
                if step == 1:
                    ann.press_and_wait("s")
            before = ann.position()
            ann.reload()
            assert ann.position() == before
            assert "3 of 6" in page.locator("#progress").inner_text()
            server.send_signal(signal.SIGKILL)
            server.wait()
            with running(command, url, env=ENV):
                ann.reload()
                assert ann.position() == before
                seen = []
                for _ in range(3):
                    seen.append(ann.position())
                    ann.answer()
                    bob.answer()
                assert seen == [5, 6, 3]  # what was skipped comes last
                for rater in (ann, bob):
                    assert "Nothing is left" in rater.page.locator("#progress").inner_text()
                ann.press_and_wait("b")
                assert ann.position() == 3
                words = ann.said[3]
                words["valid_task"] = not words["valid_task"]
                ann.press_and_wait("1", KEYS[words["valid_task"]], "Enter")
        stored = {"Ann": {}, "Bob": {}}
        for row in store.ratings():
            position = [item["instance_id"] for item in items].index(row["instance_id"]) + 1
            stored[row["rater"]][position] = {name: row[name] for name in (*NAMES, "reason")}
        assert stored == {"Ann": ann.said, "Bob": bob.said}
        assert hosts | other_hosts == {"127.0.0.1"}
    exported = rate(tmp_path, "--export", "--pseudonyms")
    assert "12 ratings of 6 instances by 2 raters" in exported.stdout
    data = load_dataset(str(tmp_path / "ratings"), split="train", cache_dir=str(tmp_path / "cache"))
    assert (len(data), set(data["rater"])) == (12, {"rater-1", "rater-2"})


def test_what_a_model_wrote_is_shown_as_it_is_and_nothing_is_asked_of_the_network(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    resolve = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *rest, **more: (asked.append(host), resolve(host, *rest))[1]
    )
    texts = {name: f"{name} {EVIL}" for name in ("instruction", "input", "attribute", "output")}
    row = {**make_rating_rows(1)[0], **texts}
    with open_store(tmp_path / "ratings.sqlite") as store, serve_hub() as elsewhere:
        store.add_items([row], 42)
        served = serve_page(store, 2, f"Data {EVIL[:50]}", server_port=free_port())
        try:
            with opened(browser, served.local_url) as (page, hosts):
                page.on("dialog", lambda dialog: hosts.add(dialog.message))
                rater = Rater(page, f"Eve {EVIL[:50]}", [row])
                for name in ("instruction", "input", "strategy", "output"):
                    shown = page.locator(f"#{name}").inner_text()
                    assert f"{TAGS} bold [x](javascript:1) $x$" in shown
                    assert page.locator(f"#{name} strong").inner_text() == "bold"
                assert EVIL[:50] in page.locator("#progress").inner_text()
                rater.press_and_wait("y", "Enter")
                assert "no answer yet" in page.locator("[role=alert]").inner_text()
                assert store.ratings() == []
                page.get_by_label("Note").fill(EVIL)
                page.keyboard.press("Escape")
                rater.press_and_wait("y", "y", "y", "y", "Enter")
                rater.press_and_wait("b")
                assert page.get_by_label("Note").input_value() == store.ratings()[0]["reason"] == EVIL
                third = page.get_by_role("group", name=re.compile("^3. Is the strategy"))
                assert third.get_by_label("yes").is_checked()
                assert page.evaluate("window.hacked") is None
                assert page.locator("main img, #instance a, #progress img").count() == 0
                fetch = "url => fetch(url, {mode: 'no-cors'}).then(() => 'sent', () => 'blocked')"
                assert page.evaluate(fetch, f"{elsewhere.url}/api") == "blocked"  # by the page's own policy
            assert hosts == {"127.0.0.1"}
        finally:
            served.close(verbose=False)
    assert set(asked) <= {"127.0.0.1", "localhost", None}


def test_a_space_runs_by_itself(tmp_path: Path) -> None:
    make_rating_build(tmp_path, 5)
    space = tmp_path / "space"
    assert rate(tmp_path, "--space", space, "--raters", 3).exit_code == 0
    _, front, text = (space / "README.md").read_text(encoding="utf-8").split("---")
    for words in ("Who may rate.", "at most 30 minutes between answers", "Where answers are.", "What a restart costs."):
        assert words in text
    assert {"sdk: gradio", "app_file: app.py"} <= set(front.splitlines())
    assert [path.name for path in space.rglob("*.py")] == ["app.py"]
    assert "auto_instruct_hf" not in (space / "app.py").read_text(encoding="utf-8")
    port = free_port()
    env = {**ENV, "PYTHONPATH": str(ROOT / "tests" / "offline"), "GRADIO_SERVER_PORT": str(port)}
    env.pop("HF_TOKEN", None)
    url = f"http://127.0.0.1:{port}/"
    with running([sys.executable, "app.py"], url, cwd=space, env=env):
        page = fetch(url) or ""
        assert "Your name" in page
        assert "All ratings so far" in page
        with open_store(space / "ratings.sqlite") as store:
            assert store.items() == json.loads((space / "items.json").read_text(encoding="utf-8"))["items"]
    again = rate(tmp_path, "--space", space)
    assert (again.exit_code, again.stderr) == (1, f"error: {space} is not empty: use a new folder\n")


def test_wrong_use_is_reported_in_one_line(tmp_path: Path) -> None:
    make_rating_build(tmp_path, 5)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = rate(tmp_path, "--port", port, "--no-browser")
    assert (refused.exit_code, refused.stderr.count("\n")) == (1, 1)
    assert f"port {port} is in use" in refused.stderr
    empty = tmp_path / "empty"
    empty.mkdir()
    none = rate(empty, "--no-browser")
    assert (none.exit_code, none.stderr.count("\n"), list(empty.iterdir())) == (1, 1, [])
    assert "holds no built dataset" in none.stderr
    assert rate(tmp_path, "--export", "--space", tmp_path / "space").exit_code == 2
    assert rate(tmp_path, "--seed", -1).exit_code == 2
