"""Kill builds with SIGKILL in every phase, push included, and compare the result with that of an undisturbed build.

Each round builds and pushes in a new folder: the command is started, killed at a random moment of the first phase,
started again, killed in the second phase, and so on, then left alone. The teacher and the Hub are the stubs of the
tests, over HTTP. The table has, by phase, the kills that hit it. Below it is what is wrong, if anything: other rows or
files than those of the undisturbed build, a request sent again although its reply was in the journal, more requests
than those in flight, a commit with a part of the files, an error.

    python benchmarks/kills.py [--rounds 5] [--seed 0]
"""

import argparse
import json
import multiprocessing
import os
import random
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from stub_hub import StubHub, serve_hub
from stub_teacher import KEY, StubTeacher, serve_stub

PHASES = ("start", "bootstrap", "attribute", "complete", "curate", "cluster", "split", "sample", "write", "push")
REPO, CONCURRENCY = "alice/tasks", 4
FAULTS = {"error500": 0.05, "error429": 0.03, "dropped": 0.02, "broken": 0.05, "cut": 0.03, "doubled": 0.05}
RECIPE = (
    "bootstrap: {requests_per_round: 4}\n"
    f"teacher: {{concurrency: {CONCURRENCY}}}\n"
    "clustering: {num_clusters: 2}\n"
    "attribution: {instructions_per_request: 2}\n"
)


def run(arguments: list[str], folder: Path) -> None:
    """Run the command in this process; the name of each phase goes to a file when it begins."""
    with (folder / "log").open("wb") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    from auto_instruct_hf import pipeline, publishing
    from auto_instruct_hf.cli.app import app

    def mark(name: str, function: Any) -> Any:
        def marked(*args: Any, **settings: Any) -> Any:
            (folder / "phase").write_text(name)
            return function(*args, **settings)

        return marked

    phase = pipeline._Phases.run

    def run_phase(self: Any, name: str, *args: Any, **settings: Any) -> Any:
        return mark(name, phase)(self, name, *args, **settings)

    pipeline._Phases.run = run_phase  # type: ignore[method-assign]
    pipeline.write_build = mark("write", pipeline.write_build)
    publishing.push_build = mark("push", publishing.push_build)
    app(arguments)


class Builds:
    """Starts builds in one folder, and remembers what went wrong."""

    def __init__(self, folder: Path, teacher: StubTeacher, hub: StubHub) -> None:
        self.folder, self._teacher, self._hub = folder, teacher, hub
        folder.mkdir()
        (folder / "recipe.yaml").write_text(RECIPE)
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["auto_instruct_hf.pipeline", "openai", "sentence_transformers", "umap"])
        self._context = context
        self.wrong: list[str] = []

    @property
    def phase(self) -> str:
        """The phase that the last build is in, or was in when it ended."""
        path = self.folder / "phase"
        return path.read_text() if path.exists() else "start"

    def start(self) -> Any:
        """Start the build, and push, in another process."""
        (self.folder / "phase").unlink(missing_ok=True)
        (self.folder / "log").write_text("")
        os.chdir(self.folder)  # so that the commands on the cards are equal
        endpoint = ["--teacher", "stub", "--base-url", self._teacher.url]
        more = ["--out", "out", "--recipe", "recipe.yaml", "--num-instructions", "14", "--push", REPO]
        process = self._context.Process(target=run, args=(["build", *endpoint, *more], self.folder))
        process.start()
        return process

    def finish(self) -> None:
        """Build without a kill."""
        process = self.start()
        process.join()
        if process.exitcode:
            self.wrong.append(f"exit status {process.exitcode}: {(self.folder / 'log').read_text()[-500:]}")

    def kill_in(self, phase: str, wait: float) -> str:
        """Start a build and kill it `wait` seconds after a phase began; return the phase that it was in."""
        known, first = self._journalled(), len(self._teacher.answered)
        process = self.start()
        while self.phase != phase and process.is_alive():
            time.sleep(0.001)
        process.join(wait)
        hit = self.phase if process.is_alive() else ""
        process.kill()
        process.join()
        said = (self.folder / "log").read_text()
        if "Traceback" in said or "error:" in said:
            self.wrong.append(f"{phase}: {said[-500:]}")
        if not known.isdisjoint(self._teacher.bodies()[first:]):
            self.wrong.append(f"{phase}: a request with a reply in the journal was sent again")
        self._check_repository(phase)
        return hit

    def rows(self) -> dict[str, bytes]:
        """Return the published files by path, as they are in the folder and on the Hub."""
        files = {f"hub/{name}": content for name, content in self._hub.repos[REPO].find().files.items()}
        folder = self.folder / "out" / "dataset"
        return files | {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.*")}

    def _check_repository(self, phase: str) -> None:
        repo = self._hub.repos.get(REPO)
        files = set(repo.find().files) - {".gitattributes"} if repo else set()
        expected = set(json.loads((self.folder / "out" / "manifest.json").read_text())["files"]) if files else set()
        if files != expected:
            self.wrong.append(f"{phase}: the repository has {len(files)} of {len(expected)} files")

    def _journalled(self) -> set[str]:
        path = self.folder / "out" / "journal.sqlite"
        if not path.exists():
            return set()
        with sqlite3.connect(path) as connection:
            try:
                rows = connection.execute("SELECT request FROM replies").fetchall()
            except sqlite3.OperationalError:  # killed before its tables were made
                return set()
        return {json.dumps(json.loads(row[0]), sort_keys=True) for row in rows}


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5, help="each with a kill in every phase")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    draw, hits, wrong, lost = random.Random(given.seed), Counter[str](), [], []
    with (
        tempfile.TemporaryDirectory() as name,
        serve_stub(faults=FAULTS, delay=0.03) as teacher,
        serve_hub() as hub,
    ):
        # Before the server of processes starts, which imports the clients: they read these settings then.
        os.environ.update(hub.env(Path(name) / "home"), OPENAI_API_KEY=KEY)
        calm = Builds(Path(name) / "calm", teacher, hub)
        calm.finish()
        if calm.wrong:
            sys.exit(calm.wrong[0])
        expected, asked = calm.rows(), len(teacher.answered)
        durations = _measure_phases(calm)
        hub.upload_rate = 100_000
        for number in range(given.rounds):
            teacher.answered.clear()
            teacher.struck.clear()
            hub.repos.clear()
            builds = Builds(Path(name) / f"round-{number}", teacher, hub)
            killed = [builds.kill_in(phase, draw.uniform(0, durations[phase])) for phase in PHASES]
            builds.finish()
            hits.update(killed)
            found = builds.rows()
            differs = [path for path in sorted({*expected, *found}) if expected.get(path) != found.get(path)]
            wrong += builds.wrong + [f"round {number}: {path} differs" for path in differs]
            lost.append(len(teacher.answered) - asked)
            if lost[-1] > CONCURRENCY * len(PHASES):
                wrong.append(f"round {number}: {lost[-1]} requests more")
            print(f"round {number}: killed in {', '.join(filter(None, killed))}", flush=True)
    print("\n| phase | kills |\n|---|---|")
    for phase in PHASES:
        print(f"| {phase} | {hits[phase]} |")
    print(f"| in all | {sum(hits.values()) - hits['']} |\n")
    print(f"requests: {asked} undisturbed; sent again in a round of {len(PHASES)} kills: {max(lost)} at most")
    print("\n".join(wrong) or "nothing was wrong: rows, files and commits are those of the undisturbed build")
    sys.exit(bool(wrong))


def _measure_phases(calm: Builds) -> dict[str, float]:
    """Return the seconds that each phase takes: from the report, and a guess for what it does not time."""
    report = json.loads((calm.folder / "out" / "report.json").read_text())
    seconds = {phase: found["seconds"] for phase, found in report["phases"].items() if "seconds" in found}
    return {**dict.fromkeys(PHASES, 1.0), **seconds}


if __name__ == "__main__":
    main()
