"""Ratings are stored, shared among raters, and summarized. The page itself is tested in test_rate."""

import itertools
import json
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, load_dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from rating_data import make_rating_build, make_rating_rows
from stub_hub import TOKEN, serve_hub

from auto_instruct_hf.errors import RatingError
from auto_instruct_hf.evaluation.questions import JUDGEMENTS, NAMES
from auto_instruct_hf.evaluation.rating import app, collect_ratings, open_store
from auto_instruct_hf.evaluation.rating.app import (
    RatingAppError,
    RatingStore,
    push_ratings,
    render_instance,
    restore_ratings,
)
from auto_instruct_hf.evaluation.rating.items import fix_items
from auto_instruct_hf.evaluation.rating.summary import RATINGS, measure_alpha, summarise_ratings

pytest.importorskip("krippendorff", reason="agreement needs krippendorff: pip install 'auto-instruct-hf[rating]'")


def say(store: RatingStore, rater: int, position: int, answer: bool | None = True, note: str = "") -> None:
    store.save(rater, position, dict.fromkeys(store.item(rater, position).answers, answer), note)


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with open_store(tmp_path / "ratings.sqlite") as one:
        one.add_items(make_rating_rows(6), 42)
        yield one


def test_answers_come_back_and_a_correction_replaces_them(store: RatingStore) -> None:
    ann = store.enter("Ann")
    answers = dict(zip(NAMES, (True, None, False, True, True), strict=True))
    store.save(ann, 1, answers, "x")
    store.save(ann, 2, {"valid_task": True, "input_fits": True, "output_correct": False})
    store.save(ann, 1, {**answers, "valid_task": False}, "y")
    first, second = store.ratings()
    assert [first[name] for name in NAMES] == [False, None, False, True, True]
    assert [second[name] for name in NAMES] == [True, True, None, None, False]
    assert {**first, **make_rating_rows(1)[0], "reason": "y", "rater": "Ann"} == first
    assert store.item(ann, 2).answers == {"valid_task": True, "input_fits": True, "output_correct": False}
    assert not store.item(ann, 3).is_rated


def test_a_file_that_lacks_a_later_question_is_read_and_goes_on(tmp_path: Path) -> None:
    before = [app.RatingQuestion("valid_task", ""), app.RatingQuestion("output_correct", "")]
    with RatingStore(tmp_path / "ratings.sqlite", before) as old:
        old.add_items(make_rating_rows(2), 42)
        say(old, old.enter("Ann"), 1)
    with open_store(tmp_path / "ratings.sqlite") as store:
        say(store, store.enter("Ann"), 2)
        first, second = store.ratings()
    assert [first[name] for name in NAMES] == [True, None, None, None, True]
    assert [second[name] for name in NAMES] == [True, True, None, None, True]


def test_a_question_that_does_not_apply_is_not_answered(store: RatingStore) -> None:
    with pytest.raises(RatingAppError, match="item 2 is asked about valid_task, input_fits, output_correct"):
        store.save(store.enter("Ann"), 2, dict.fromkeys(NAMES, True))
    with pytest.raises(RatingAppError, match="got valid_task"):
        store.save(store.enter("Ann"), 1, {"valid_task": True})
    assert store.ratings() == []


def test_a_name_is_one_rater_however_it_is_typed(store: RatingStore) -> None:
    assert store.enter("Ann  Lee") == store.enter(" ann lee ") != store.enter("Ann")
    for name in ("", "  ", "x" * 61):
        with pytest.raises(RatingAppError, match="letters"):
            store.enter(name)


def test_a_rater_comes_back_to_where_they_were(store: RatingStore) -> None:
    ann = store.enter("Ann")
    say(store, ann, 1)
    shown = store.next_item(ann, 2)
    with open_store(store.path) as again:
        assert shown is not None
        assert again.next_item(again.enter("Ann"), 2) == shown


def test_skipped_items_come_last_in_the_order_of_skipping(store: RatingStore) -> None:
    ann, seen = store.enter("Ann"), []
    while item := store.next_item(ann, 1):
        seen.append(item.position)
        if item.position in (3, 1) and seen.count(item.position) == 1:
            store.skip(ann, item.position)
        else:
            say(store, ann, item.position)
    assert seen == [1, 2, 3, 4, 5, 6, 1, 3]


def test_back_goes_through_what_was_saved_newest_first(store: RatingStore) -> None:
    ann = store.enter("Ann")
    for position in (4, 2, 5):
        say(store, ann, position)
    say(store, ann, 4, False)  # a correction changes no order
    seen, position = [], 1
    while item := store.previous_item(ann, position):
        seen.append(item.position)
        position = item.position
    assert seen == [5, 2, 4]
    assert store.previous_item(store.enter("Bob"), None) is None


def test_a_reserved_item_is_offered_again_after_a_while(store: RatingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    ann, bob, eve = (store.enter(name) for name in ("Ann", "Bob", "Eve"))
    shown = [store.next_item(rater, 2) for rater in (ann, bob, eve)]
    assert [item and item.position for item in shown] == [1, 1, 2]
    say(store, ann, 1)
    late = time.time() + app.RESERVED_SECONDS + 1
    monkeypatch.setattr(app.time, "time", lambda: late)
    item = store.next_item(store.enter("Joe"), 2)
    assert item is not None
    assert item.position == 1
    for rater, since in ((bob, late), (eve, 0)):
        store.hold(rater, since)
    items = [store.next_item(store.enter(name), 2) for name in ("Ida", "Leo")]
    assert [item and item.position for item in items] == [2, 2]  # Bob was active, Eve has left
    say(store, bob, 1)  # Bob was slow: what he says is kept all the same
    assert store.progress(bob, 2) == (1, 6, 5, 1)


@settings(max_examples=25)
@given(st.integers(1, 3), st.integers(1, 4), st.randoms(use_true_random=False))
def test_each_item_gets_its_raters_and_nobody_twice(wanted: int, people: int, chance: Any) -> None:
    with tempfile.TemporaryDirectory() as folder, open_store(Path(folder) / "ratings.sqlite") as store:
        store.add_items(make_rating_rows(4), 42)
        raters = [store.enter(f"rater {number}") for number in range(people)]
        skips = 6
        while any(store.progress(rater, wanted)[2] for rater in raters):
            rater = chance.choice(raters)
            item = store.next_item(rater, wanted)
            if item and skips and chance.random() < 0.3:
                store.skip(rater, item.position)
                skips -= 1
            elif item:
                assert not item.is_rated
                say(store, rater, item.position)
        counts = Counter(row["instance_id"] for row in store.ratings())
        assert counts == {f"a{number}": min(wanted, people) for number in range(4)}


def test_two_processes_share_the_items(tmp_path: Path) -> None:
    path = tmp_path / "ratings.sqlite"
    with open_store(path) as first:
        first.add_items(make_rating_rows(12), 42)

    def rate(name: str) -> None:
        with open_store(path) as own:
            rater = own.enter(name)
            while item := own.next_item(rater, 1):
                say(own, rater, item.position)

    with ThreadPoolExecutor() as pool:
        list(pool.map(rate, ("Ann", "Bob", "Eve")))
    with open_store(path) as store:
        counts = Counter(row["instance_id"] for row in store.ratings())
    assert counts == {f"a{number}": 1 for number in range(12)}


def test_a_saved_answer_survives_a_kill(store: RatingStore) -> None:
    program = (
        "import sys, time; from pathlib import Path; from app import RatingQuestion, RatingStore\n"
        "store = RatingStore(Path(sys.argv[1]), [RatingQuestion(name, '') for name in sys.argv[2:]])\n"
        "store.save(store.enter('Ann'), 1, dict.fromkeys(sys.argv[2:], True))\n"
        "print('saved', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", program, str(store.path), *NAMES]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(app.__file__).parent) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"saved\n"
        child.send_signal(signal.SIGKILL)
    assert [row["rater"] for row in store.ratings()] == ["Ann"]


def test_a_file_of_another_kind_or_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database, but long enough to be looked at" * 30, encoding="utf-8")
    with pytest.raises(RatingError, match="cannot open"):
        open_store(tmp_path / "text")
    with sqlite3.connect(tmp_path / "later") as later:
        later.execute("PRAGMA user_version=9")
    with pytest.raises(RatingError, match="format 9"):
        open_store(tmp_path / "later")


def test_picks_stay_and_a_larger_size_adds_to_them(tmp_path: Path) -> None:
    make_rating_build(tmp_path, 30)
    with open_store(tmp_path / "ratings.sqlite") as store:
        assert fix_items(store, tmp_path, 10, 7) == 10
        picked = store.items()
        make_rating_build(tmp_path, 20)  # the build changes
        assert fix_items(store, tmp_path) == 10
        assert store.items() == picked
        assert fix_items(store, tmp_path, 15) == 15
        assert store.items()[:10] == picked
        assert len({row["instruction_id"] for row in store.items()}) == 15
        with pytest.raises(RatingError, match="more than 5"):
            fix_items(store, tmp_path, 5)
        with pytest.raises(RatingError, match="seed 7, not 8"):
            fix_items(store, tmp_path, 15, 8)
        assert fix_items(store, tmp_path, 100) == 20 + len([row for row in picked if int(row["instance_id"][1:]) >= 20])


def test_a_copy_without_names_holds_none(store: RatingStore, tmp_path: Path) -> None:
    say(store, store.enter("Annabella"), 1, note="fine")
    store.copy_to(tmp_path / "copy.sqlite", named=False)
    assert b"annabella" not in (tmp_path / "copy.sqlite").read_bytes().lower()
    with open_store(tmp_path / "copy.sqlite") as copy:
        assert copy.ratings() == [{**row, "rater": "rater-1"} for row in store.ratings()]
    assert store.ratings()[0]["rater"] == "Annabella"


def judge(*columns: str) -> Dataset:
    """Make a rating for each rater (a column) and instance (a sign: y, n, or - for no answer) to one question."""
    said = {"y": True, "n": False}
    base = {**dict.fromkeys(NAMES), "confidence": None, "reason": ""}
    rows = [
        {**base, "instance_id": f"a{number}", "rater": f"r{rater}", "valid_task": said.get(sign)}
        for rater, column in enumerate(columns)
        for number, sign in enumerate(column)
    ]
    return Dataset.from_list(rows, features=JUDGEMENTS)


def test_alpha_of_krippendorffs_own_example() -> None:
    # Computing Krippendorff's Alpha-Reliability (2011), section A: binary, two observers, no missing data.
    found = summarise_ratings(judge("nynnnnnnyn", "nyynnynynn"))["questions"]["valid_task"]["agreement"]
    assert round(found["alpha"], 3) == 0.095
    assert (found["raw"], found["pairs"], found["instances"]) == (0.6, 10, 10)


answers = st.lists(st.lists(st.sampled_from("yn-"), min_size=3, max_size=3), min_size=2, max_size=8)


@given(answers)
def test_alpha_equals_that_of_nltk(columns: list[list[str]]) -> None:
    from nltk.metrics.agreement import AnnotationTask

    units = [[sign for sign in unit if sign != "-"] for unit in columns]
    kept = [unit for unit in units if len(unit) > 1]
    found = measure_alpha([[sign == "y" for sign in unit] for unit in units])
    if len(set(itertools.chain.from_iterable(kept))) < 2:
        assert found is None
    else:
        triples = [(rater, number, sign) for number, unit in enumerate(kept) for rater, sign in enumerate(unit)]
        assert found == pytest.approx(AnnotationTask(triples).alpha())


@pytest.mark.parametrize("columns", [("yyny",), ("yyyy", "yyyy"), ("nn", "nn"), ("yn--", "--yn"), ("----",)])
def test_agreement_that_is_not_defined_is_null_and_no_warning(columns: tuple[str, ...]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        summary = summarise_ratings(judge(*columns))
    assert summary["questions"]["valid_task"]["agreement"]["alpha"] is None
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_a_tie_is_no_majority_for_yes() -> None:
    found = summarise_ratings(judge("yyynn-", "yynnn-", "y-----"))["questions"]["valid_task"]
    assert [found["majority"][name] for name in ("yes", "asked", "ties", "share")] == [2, 5, 1, 0.4]
    assert (found["answers"]["yes"], found["answers"]["asked"]) == (6, 11)
    assert found["published"] == {"Auto-Instruct": 0.962, "Self-Instruct": 0.92}
    assert found["majority"]["low"] < 0.4 < found["majority"]["high"]


def test_a_restarted_space_begins_with_what_it_pushed(
    store: RatingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import HfApi

    repo, restored = "alice/ratings", tmp_path / "restored" / "ratings.sqlite"
    restored.parent.mkdir()
    with serve_hub() as stub:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
        hub = HfApi(endpoint=stub.url, token=TOKEN)
        hub.create_repo(repo, repo_type="dataset", private=True)
        restore_ratings(hub, repo, restored)
        assert not restored.exists()
        say(store, store.enter("Ann"), 1)
        pushed = push_ratings(hub, repo, store, [])
        commits = len(hub.list_repo_commits(repo, repo_type="dataset"))
        assert push_ratings(hub, repo, store, pushed) == pushed == store.ratings()
        assert len(hub.list_repo_commits(repo, repo_type="dataset")) == commits
        restore_ratings(hub, repo, restored)
    with open_store(restored) as again:
        assert (again.ratings(), again.items()) == (store.ratings(), store.items())


def test_a_failed_push_is_printed_without_the_token(
    store: RatingStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Down:
        def upload_folder(self, **options: Any) -> None:
            raise OSError("no route for hf_secret")

    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    say(store, store.enter("Ann"), 1)
    assert push_ratings(Down(), "alice/ratings", store, []) == []
    said = capsys.readouterr().out
    assert "no route for ***" in said


def test_ratings_are_a_dataset(store: RatingStore, tmp_path: Path) -> None:
    with pytest.raises(RatingError, match="no rating yet"):
        collect_ratings(store)
    say(store, store.enter("Bob"), 2, False, "odd")
    say(store, store.enter("Ann"), 1, None)
    (tmp_path / "out").mkdir()
    collect_ratings(store, named=False).to_parquet(tmp_path / "out" / "train.parquet")
    data = load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    assert data.features == RATINGS
    columns = [data[name][:] for name in ("rater", "output_correct", "reason", "instruction")]
    assert columns == [["rater-2", "rater-1"], [None, False], ["", "odd"], ["Do 0.", "Do 1."]]


def test_text_is_rendered_without_html_links_images_and_empty_parts() -> None:
    text = "**Sort** ![x](http://a.b/c.png)\nnext line"
    row = {"instruction": text, "input": "", "attribute": "", "is_classification": False}
    output = "```python\nprint('<b>')\n```\n<script>alert(1)</script> [a](http://b.c)"
    shown = render_instance({**row, "output": output})
    assert "<strong>Sort</strong>" in shown
    assert "<br />\nnext line" in shown
    assert "<code class=\"language-python\">print('&lt;b&gt;')" in shown
    assert not any(tag in shown for tag in ("<img", "<script", "<a ", 'id="input"', 'id="strategy"'))


@pytest.mark.parametrize(
    ("name", "other", "same"),
    [
        ("Ada Lovelace", "ADA  Lovelace", True),
        ("Ada Lovelace", "\uff21\uff44\uff41\u3000Lovelace", True),  # full width
        ("Ada Lovelace", " Ada\u00a0Lovelace\n", True),
        ("Jos\u00e9", "JOSE\u0301", True),  # the accent as a mark of its own
        ("\u0130lker", "ilker", True),  # a capital I with a dot
        ("Stra\u00dfe", "STRASSE", True),
        ("Ada Lovelace", "Ada Lovelac", False),
        ("Jos\u00e9", "Jose", False),
    ],
)
def test_names_that_look_alike_are_one_person(store: RatingStore, name: str, other: str, same: bool) -> None:
    assert (store.enter(name) == store.enter(other)) == same


@pytest.mark.parametrize(
    "name",
    [
        "A\x00da", "Ada\u202e", "A\u200bda", "Ada\ufeff", "\ud800", "Ada\u034f", "Ada\ufe0f", "\u3164", "\uffa0",
        "\u2800", "Ada\U000e0100", "\ue000", "Ada\u180b", "\u0301", "...",
    ],
)  # fmt: skip
def test_a_name_with_invisible_characters_is_refused(store: RatingStore, name: str) -> None:
    with pytest.raises(RatingAppError, match="no invisible characters"):
        store.enter(name)


def test_a_name_in_two_alphabets_is_refused(store: RatingStore) -> None:
    assert store.enter("\u0410\u043d\u043d\u0430") != store.enter("Anna")
    with pytest.raises(RatingAppError, match="one alphabet"):
        store.enter("\u0410nna")  # with a Cyrillic A
