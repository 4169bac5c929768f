"""Write the rating page as a Space of the Hub: a folder with `app.py` that needs nothing else of this package."""

import json
import shutil
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from ...errors import RatingError
from . import app

_README = """---
title: {title}
sdk: gradio
sdk_version: {gradio}
python_version: "3.11"
app_file: app.py
pinned: false
---

# {title}

{items} instances of the dataset are rated here, each by {raters}. Names are taken on trust: make the Space private, or
give its address to the raters alone.

Ratings are in `ratings.sqlite`: in `/data` if the Space has persistent storage, else beside `app.py`, where **a restart
deletes them**. In the latter case set, in the settings of the Space, the secret `HF_TOKEN` (with write access) and the
variable `RATINGS_REPO` (`USER/NAME` of a private dataset repository, created if missing): new ratings are pushed there
every {minutes} minutes, and a restarted Space continues with them. A restart loses ratings made since the last push.

"All ratings so far" at the foot of the page gives a copy of the file with numbers in place of names, to whoever opens
the page. Put it, or the one in RATINGS_REPO, in the folder of the build and run `python scripts/rate.py OUT --export`
for the agreement and the shares. `data/train.parquet` in RATINGS_REPO is read by `load_dataset`.

By hand: `pip install -r requirements.txt && python app.py`.
"""


def write_space(store: app.RatingStore, folder: Path, raters: int = 2, title: str = "a dataset") -> None:
    """Write a folder that runs as a Space: the page, its requirements, the items.

    Args:
        store: The items; ratings are not copied.
        folder: The folder; new or empty.
        raters: Ratings per item.
        title: Name of the dataset.

    Raises:
        RatingError: If the folder is not empty.
    """
    if folder.exists() and any(folder.iterdir()):
        raise RatingError(f"{folder} is not empty: use a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(app.__file__, folder / "app.py")
    items, questions = store.items(), [asdict(question) for question in store.questions]
    packages = ("gradio", "datasets", "huggingface-hub", "markdown-it-py")
    settings = {"title": title, "raters": raters, "seed": store.seed(), "questions": questions, "items": items}
    content = {
        "requirements.txt": "".join(f"{name}=={version(name)}\n" for name in packages),
        "README.md": _README.format(
            title=f"Rate {title}",
            gradio=version("gradio"),
            items=len(items),
            raters="one person" if raters == 1 else f"{raters} people",
            minutes=app.PUSH_SECONDS // 60,
        ),
        "items.json": json.dumps(settings, ensure_ascii=False),
    }
    for name, text in content.items():
        (folder / name).write_text(text, encoding="utf-8")
