import getpass
import os
import tempfile

# Before any library reads them: a test never reaches for the network, shows no bars, and writes nowhere else.
os.environ["HF_MODULES_CACHE"] = os.path.join(tempfile.gettempdir(), f"hf-modules-{getpass.getuser()}")
# Several tests run at once: threads of torch that wait for each other would keep the cores busy.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ.pop("OPENAI_API_KEY", None)
os.environ.pop("OPENAI_BASE_URL", None)

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import hypothesis
import pytest
from made_data import make_build
from stub_teacher import KEY, StubTeacher, serve_stub

from auto_instruct_hf import Teacher
from auto_instruct_hf.recipe import TeacherSettings

datasets.disable_progress_bars()
# How long an example takes says more of the machine than of the code.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")


# Those that take longest start first: the last one would else run alone, on one core.
_LONGEST = ("test_ray.py", "test_pipeline.py", "test_cli.py", "test_units.py", "test_rate.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in _LONGEST)


@pytest.fixture(autouse=True)
def no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where a name of the network would be resolved."""
    resolve = socket.getaddrinfo

    def only_loopback(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host not in ("127.0.0.1", "localhost", "::1", None, b"127.0.0.1", b"localhost"):
            raise AssertionError(f"a test tried to resolve {host!r}")
        return resolve(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", only_loopback)


@pytest.fixture
def stub() -> Iterator[StubTeacher]:
    with serve_stub() as teacher:
        yield teacher


@pytest.fixture
def teacher(stub: StubTeacher, tmp_path: Path) -> Iterator[Teacher]:
    settings = TeacherSettings(max_retries=3)
    with Teacher("stub", base_url=stub.url, api_key=KEY, journal=tmp_path / "journal.sqlite", settings=settings) as one:
        yield one


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a made-up build."""
    return make_build(tmp_path_factory.mktemp("built"))
