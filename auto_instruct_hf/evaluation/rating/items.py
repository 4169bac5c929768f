"""Choose the instances of a build to rate, and write them for the rating page, on this machine or in a Space."""

import json
import shutil
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from datasets import concatenate_datasets

from ...core import INSTANCES, SQLITE_FAILURES, inline, recover_database
from ...errors import RatingError, SourceError
from ...sampling import pick
from ..built_folder import read_built
from ..questions import QUESTIONS
from . import app

SIZE = 50
SEED = 42
_README = """---
title: {yaml_title}
sdk: gradio
sdk_version: {gradio}
python_version: "3.11"
app_file: app.py
pinned: false
---

# {title}

{items} instances of the dataset are rated here, each by {raters}.

**Who may rate.** Whoever can open the page, under any name: names are taken on trust. Make the Space private, or give
its address to the raters alone. An instance is reserved for the rater to whom it is shown while the page is open, for
at most {reserved} minutes between answers; then it is shown to others.

**Where answers are.** In `ratings.sqlite`: in `/data` if the Space has persistent storage, else beside `app.py`. If the
settings of the Space have the secret `HF_TOKEN` (with write access) and the variable `RATINGS_REPO` (`USER/NAME` of a
private dataset repository, created if missing), new answers are also pushed there every {minutes} minutes.

**What a restart costs.** With `/data`: nothing. With `RATINGS_REPO`: the answers since the last push; a restarted Space
continues with the others. With neither: **all answers**.

"All ratings so far" at the foot of the page gives a copy of the file with numbers in place of names, to whoever opens
the page. Put it, or the one in RATINGS_REPO, in the folder of the build and run `auto-instruct rate OUT --export`
for the agreement and the shares. `load_dataset` reads `train.jsonl` in RATINGS_REPO.

By hand: `pip install -r requirements.txt && python app.py`.
"""


def open_store(path: Path) -> app.RatingStore:
    """Open or create a file of ratings with the questions; raise RatingError if that is not possible."""
    try:
        return app.RatingStore(path, [app.RatingQuestion(one.name, one.text, one.needs_strategy) for one in QUESTIONS])
    except app.RatingAppError as error:
        raise RatingError(str(error)) from None


def recover_ratings(path: Path) -> int:
    """Replace a damaged file of ratings by what can be read, and return the number of ratings.

    The damaged file is kept as `NAME.damaged`. Raise RatingError if nothing can be read.
    """
    try:
        return recover_database(path, app.RATINGS_FORMAT, "ratings")
    except SQLITE_FAILURES as reason:
        raise RatingError(f"nothing can be read of {path} ({reason}): move it away to begin again") from None


def fix_items(store: app.RatingStore, out: Path, size: int | None = None, seed: int | None = None) -> int:
    """Choose the instances to rate, or more of them; those chosen before stay.

    Args:
        store: Where they are kept, independent of later changes of the build.
        out: Folder of the build.
        size: Their number. None: as before, at first SIZE. Further ones are sampled from the other instructions.
        seed: Random seed. None: as before, at first SEED.

    Returns:
        Their number; fewer than `size` if the build has fewer instructions.

    Raises:
        RatingError: If `size` is smaller than before, or `seed` differs.
        SourceError: If there is no build.
    """
    there, before = store.items(), store.seed()
    if before is not None and seed not in (None, before):
        raise RatingError(
            f"{store.path} holds a sample with seed {before}, not {seed}: leave out the seed, or move the file away"
        )
    if size is not None and size < len(there):
        raise RatingError(
            f"{store.path} holds {len(there)} instances, more than {size}: leave out the size, or move the file away"
        )
    more = (size or len(there) or SIZE) - len(there)
    if more:
        rated = {row["instruction_id"] for row in there}
        instances = concatenate_datasets(list(read_built(out).read_splits("instances").values()))
        rest = [row for row, one in enumerate(instances["instruction_id"][:]) if one not in rated]
        if rest:
            seed = before if before is not None else SEED if seed is None else seed
            picked = pick(instances.select(rest), more, seed)
            store.add_items(picked.select_columns(list(INSTANCES)).to_list(), seed)
    return len(store.items())


def write_items(store: app.RatingStore, folder: Path, raters: int, out: Path) -> str:
    """Write `items.json`, which the page reads: questions, instances, and `raters`, the ratings per instance.

    Returns the title of the build `out`, or the name of its folder.
    """
    try:
        title = str(read_built(out).report["title"])
    except SourceError:
        title = out.resolve().name
    questions = [asdict(question) for question in store.questions]
    settings = {"title": title, "raters": raters, "seed": store.seed(), "questions": questions, "items": store.items()}
    (folder / "items.json").write_text(json.dumps(settings, ensure_ascii=False), encoding="utf-8")
    return title


def write_space(store: app.RatingStore, folder: Path, raters: int, out: Path) -> None:
    """Write a folder that runs as a Space and needs nothing else of this package: page, requirements and items.

    Ratings are not copied. Raises RatingError if the folder is not empty.
    """
    if folder.exists() and any(folder.iterdir()):
        raise RatingError(f"{folder} is not empty: use a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(app.__file__, folder / "app.py")
    title = write_items(store, folder, raters, out)
    readme = _README.format(
        yaml_title=json.dumps(f"Rate {title}"),
        title=inline(f"Rate {title}"),
        gradio=version("gradio"),
        items=len(store.items()),
        raters="one person" if raters == 1 else f"{raters} people",
        minutes=app.PUSH_SECONDS // 60,
        reserved=app.RESERVED_SECONDS // 60,
    )
    (folder / "README.md").write_text(readme, encoding="utf-8")
    packages = ("gradio", "huggingface-hub", "markdown-it-py")
    (folder / "requirements.txt").write_text("".join(f"{name}=={version(name)}\n" for name in packages), "utf-8")
