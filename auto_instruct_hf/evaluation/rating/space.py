"""The rating page as a Space of the Hub: a folder that runs by itself, and what runs in it."""

import json
import os
import shutil
import tempfile
import threading
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ...errors import RatingError
from .server import serve
from .store import RatingStore

_PACKAGE = "rating_app"
_MODULES = (
    "errors.py",
    "evaluation/questions.py",
    "evaluation/rating_page.css",
    "evaluation/rating_page.js",
    "evaluation/rating_page.py",
    "evaluation/rating_server.py",
    "evaluation/rating_space.py",
    "evaluation/rating_store.py",
    "evaluation/rating_tables.py",
    "evaluation/ratings.py",
    "evaluation/shares.py",
)
_PUSH_SECONDS = 300
_APP = f'''"""Serve the rating page. HF_TOKEN and RATINGS_REPO are explained in README.md."""

from pathlib import Path

from {_PACKAGE}.evaluation.rating_space import run_space

run_space(Path(__file__).parent)
'''
_README = """---
title: {title}
sdk: gradio
sdk_version: {gradio}
python_version: "3.11"
app_file: app.py
pinned: false
---

# {title}

{items} instances of a dataset are rated here, each by {raters}. Names are taken on trust: make the Space private, or
give its address to the raters alone.

Ratings are in `ratings.sqlite`: in `/data` where the Space has persistent storage, else beside `app.py`, where **a
restart deletes them**. In the latter case set, in the settings of the Space, the secret `HF_TOKEN` (it may write to
the repository) and the variable `RATINGS_REPO` (`USER/NAME` of a dataset repository that is private, made if there is
none): every {minutes} minutes what is new is pushed there, and a restarted Space begins with what it finds there. A
restart costs what was rated since the last push.

"All ratings so far" at the foot of the page gives a copy of the file with numbers in place of names, to whoever opens
the page. Put it, or the one in RATINGS_REPO, in the folder of the build and run `python scripts/rate.py OUT --export`
for the agreement and the shares. `data/train.parquet` in RATINGS_REPO is read by `load_dataset`.

By hand: `pip install -r requirements.txt && python app.py`.
"""


def write_space(store: RatingStore, folder: Path, raters: int = 2) -> None:
    """Write a folder that can be pushed as a Space: the page, its requirements, the items. Nothing else is needed.

    Args:
        store: The items; ratings stay where they are.
        folder: Where; new or empty.
        raters: How many are to rate each item.

    Raises:
        RatingError: If the folder holds anything.
    """
    if folder.exists() and any(folder.iterdir()):
        raise RatingError(f"{folder} is not empty: name a new folder")
    source = Path(__file__).parents[1]
    for name in _MODULES:
        target = folder / _PACKAGE / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target)
    for part in (_PACKAGE, f"{_PACKAGE}/evaluation"):
        (folder / part / "__init__.py").write_text('"""Part of the rating page."""\n', encoding="utf-8")
    items = store.items()
    content = {
        "app.py": _APP,
        "requirements.txt": "".join(f"{name}=={version(name)}\n" for name in ("gradio", "datasets", "huggingface-hub")),
        "README.md": _README.format(
            title="Rate a dataset",
            gradio=version("gradio"),
            items=len(items),
            raters="one person" if raters == 1 else f"{raters} people",
            minutes=_PUSH_SECONDS // 60,
        ),
        "items.json": json.dumps({"raters": raters, "seed": store.seed(), "items": items}, ensure_ascii=False),
    }
    for name, text in content.items():
        (folder / name).write_text(text, encoding="utf-8")


def run_space(folder: Path) -> None:
    """Serve the page of a folder that `write_space` made, until the process ends.

    GRADIO_SERVER_NAME and GRADIO_SERVER_PORT say where, as a Space sets them. With HF_TOKEN and RATINGS_REPO ratings
    are pushed to that repository, and read from it at the start where there are none here.

    Args:
        folder: The folder.

    Raises:
        RatingError: If RATINGS_REPO is public, or cannot be read.
    """
    settings = json.loads((folder / "items.json").read_text(encoding="utf-8"))
    keep = Path("/data") if os.access("/data", os.W_OK) else folder
    path, repo = keep / "ratings.sqlite", os.environ.get("RATINGS_REPO")
    hub = _open_hub(repo) if repo and os.environ.get("HF_TOKEN") else None
    if hub and repo and not path.exists():
        restore(hub, repo, path)
    store = RatingStore(path)
    store.add_items(settings["items"], settings["seed"])
    address, _ = serve(store, settings["raters"], host=None, offer_download=True)
    print(f"{address}: ratings in {path}" + (f", pushed to {repo}" if hub else ""), flush=True)
    pushed: list[Any] = store.ratings()
    while True:
        threading.Event().wait(_PUSH_SECONDS)
        if hub and repo:
            pushed = push_ratings(hub, repo, store, pushed)


def _open_hub(repo: str) -> Any:
    from huggingface_hub import HfApi

    hub = HfApi(token=os.environ["HF_TOKEN"])
    hub.create_repo(repo, repo_type="dataset", private=True, exist_ok=True)
    if not hub.repo_info(repo, repo_type="dataset").private:
        raise RatingError(f"RATINGS_REPO {repo} is public, and ratings hold names: make it private, or name another")
    return hub


def restore(hub: Any, repo: str, path: Path) -> None:
    """Fetch the ratings that an earlier run pushed. None there: nothing is done. Any other failure is raised."""
    if hub.file_exists(repo, path.name, repo_type="dataset"):
        with tempfile.TemporaryDirectory() as folder:
            fetched = hub.hf_hub_download(repo, path.name, repo_type="dataset", local_dir=folder)
            shutil.copyfile(fetched, path)


def push_ratings(hub: Any, repo: str, store: RatingStore, pushed: list[Any]) -> list[Any]:
    """Push the ratings in one commit where they are not those of the last push. A failure is printed and tried again.

    Args:
        hub: A `huggingface_hub.HfApi`.
        repo: `USER/NAME` of the dataset repository.
        store: The ratings.
        pushed: What this returned the last time, or `store.ratings()` at the start.

    Returns:
        The ratings that stand in the repository.
    """
    from .summary import collect_ratings

    ratings = store.ratings()
    if ratings == pushed:
        return pushed
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store.copy_to(folder / store.path.name, named=True)
        (folder / "data").mkdir()
        collect_ratings(store).to_parquet(folder / "data" / "train.parquet")
        try:
            hub.upload_folder(
                repo_id=repo, repo_type="dataset", folder_path=folder, commit_message=f"{len(ratings)} ratings"
            )
        except Exception as error:  # whatever it is, people go on rating
            print(f"cannot push to {repo}: {error}", flush=True)
            return pushed
    return ratings
