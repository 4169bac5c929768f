"""A stand-in for the Hugging Face Hub over real HTTP: what huggingface_hub and datasets ask of it, data sets only.

A repository is a chain of immutable snapshots, with branches, tags and pull requests that point at them. Statuses and
headers of errors are those the clients read on the real Hub, so a test meets the exceptions that a user would meet.
"""

import base64
import hashlib
import json
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote

import yaml

TOKEN, OTHER_TOKEN = "hf_stub0123456789abcdef", "hf_other0123456789abcdef"
_LARGE = {".arrow", ".gz", ".jpg", ".npy", ".parquet", ".png", ".zip"}


@dataclass(frozen=True)
class Commit:
    """A snapshot of a repository."""

    oid: str
    parent: str
    title: str
    user: str
    date: str
    files: dict[str, bytes]


@dataclass
class StubRepo:
    repo_id: str
    private: bool
    commits: dict[str, Commit] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    """Commits by refs/heads/…, refs/tags/… and refs/pr/…."""
    large: dict[str, bytes] = field(default_factory=dict)
    """Uploaded files by SHA-256, committed or not."""

    def find(self, revision: str = "main") -> Commit:
        """Return the commit of a branch, tag, pull request or commit hash."""
        names = (f"refs/heads/{revision}", f"refs/tags/{revision}", revision)
        oid = next((self.refs[name] for name in names if name in self.refs), revision)
        if oid not in self.commits:
            raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self.commits[oid]

    def history(self, revision: str = "main") -> list[Commit]:
        """Return the commits, the newest first. The Hub makes the first one itself, with .gitattributes in it."""
        commits = [self.find(revision)]
        while commits[-1].parent:
            commits.append(self.commits[commits[-1].parent])
        return commits

    def add(
        self, files: dict[str, bytes], title: str, user: str, ref: str = "refs/heads/main", parent: str = ""
    ) -> Commit:
        number = len(self.commits)
        oid = hashlib.sha1(f"{self.repo_id} {number}".encode()).hexdigest()
        date = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(1_800_000_000 + number))
        self.commits[oid] = Commit(oid, parent or self.refs.get(ref, ""), title, user, date, files)
        self.refs[ref] = oid
        self.large |= {_oids(content)[1]: content for path, content in files.items() if _is_large(path, len(content))}
        return self.commits[oid]


@dataclass
class Failure:
    """An error of the server, for the next requests that match."""

    pattern: str
    """A regular expression, found in "METHOD /path?query"."""
    status: int = 503
    """0: hang up without an answer."""
    times: int = 1
    after: bool = False
    """Do first what was asked for: only the answer is lost."""


@dataclass
class StubHub:
    """What the test sees, and sets at any time."""

    url: str = ""
    tokens: dict[str, list[str]] = field(default_factory=lambda: {TOKEN: ["alice", "lab"], OTHER_TOKEN: ["bob"]})
    """By token: the user, then the organizations where the user may write."""
    repos: dict[str, StubRepo] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    """Method and path with query, in the order of arrival."""
    role: str = "write"
    """Of all tokens."""
    uploads: int = 0
    """Uploads of large files that began."""
    received: int = 0
    """Bytes of large files, also of broken uploads; grows while one is running."""
    uploaded: int = 0
    """Bytes of large files that arrived whole."""
    cut_uploads: set[int] = field(default_factory=set)
    """Uploads, counted from 1, to hang up on in the middle."""
    upload_rate: int = 0
    """Where not 0: bytes a second at which an upload is read."""
    rival: dict[str, bytes] = field(default_factory=dict)
    """Files that a second writer commits right before the next commit, which gets 412 if it names its parent."""
    failures: list[Failure] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

    def env(self, home: Path | str, token: str = TOKEN) -> dict[str, str]:
        """Return what a client needs in its environment before its first import; home should be fresh."""
        env = {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_TOKEN": token, "HF_HUB_DISABLE_XET": "1"}
        return env | {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}

    def add_repo(self, repo_id: str, files: dict[str, bytes] | None = None, private: bool = False) -> StubRepo:
        repo, user = StubRepo(repo_id, private), repo_id.partition("/")[0]
        rules = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in sorted(_LARGE))
        repo.add({".gitattributes": rules.encode()}, "initial commit", user)
        if files:
            repo.add(repo.find().files | files, "Add files", user)
        self.repos[repo_id] = repo
        return repo


class HubError(Exception):
    def __init__(self, status: int, message: str, code: str = "", commit: str = "") -> None:
        super().__init__(message)
        headers = {"X-Error-Message": message, "X-Error-Code": code, "X-Repo-Commit": commit}
        self.answer = status, {"error": message}, {name: value for name, value in headers.items() if value}


_API, _GIT = "/api/(?:datasets|models)/([^/]+/[^/]+)", "(?:/datasets)?/([^/]+/[^/]+)"
_ROUTES = [
    ("GET", "/api/whoami-v2", "whoami"),
    ("POST", "/api/validate-yaml", "validate_yaml"),
    ("POST", "/api/repos/create", "create"),
    ("GET", f"{_API}(?:/revision/([^/]+))?", "info"),
    ("GET", f"{_API}/tree/([^/]+)(?:/(.+))?", "tree"),
    ("POST", f"{_API}/paths-info/([^/]+)", "paths_info"),
    ("GET", f"{_API}/commits/([^/]+)", "commits"),
    ("GET", f"{_API}/refs", "refs"),
    ("POST", f"{_API}/(branch|tag)/([^/]+)", "ref"),
    ("POST", f"{_API}/preupload/([^/]+)", "preupload"),
    ("POST", f"{_API}/commit/([^/]+)", "commit"),
    ("POST", rf"{_GIT}\.git/info/lfs/objects/batch", "batch"),
    ("PUT", "/large/([^/]+/[^/]+)/([0-9a-f]{64})", "put"),
    ("GET HEAD", f"{_GIT}/resolve/([^/]+)/(.+)", "resolve"),
]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    hub: StubHub
    body: bytes
    query: dict[str, str]

    def log_message(self, *args: object) -> None:
        pass

    def serve(self) -> None:
        with self.hub.lock:
            self.hub.requests.append((self.command, self.path))
            asked = f"{self.command} {self.path}"
            failure = next((f for f in self.hub.failures if f.times and re.search(f.pattern, asked)), None)
            if failure:
                failure.times -= 1
        answer = self._answer(do=failure is None or failure.after) if self._read() else None
        if answer is None or (failure and failure.status == 0):
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        elif failure:
            self._send(failure.status, b"<html>Out of order</html>", {"Content-Type": "text/html"})
        else:
            self._send(*answer)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = serve  # noqa: N815 (the names that http.server calls)

    def _read(self) -> bool:
        """Read the body of the request. Return whether it is whole, and the connection is to go on."""
        hub, length = self.hub, int(self.headers.get("Content-Length", 0))
        if self.command != "PUT":
            self.body = self.rfile.read(length)
            return True
        with hub.lock:
            hub.uploads += 1
            end = length // 2 if hub.uploads in hub.cut_uploads else length
        content = bytearray()
        while len(content) < end and (chunk := self.rfile.read1(min(end - len(content), 1 << 16))):
            content += chunk
            with hub.lock:
                hub.received += len(chunk)
            if hub.upload_rate:
                time.sleep(len(chunk) / hub.upload_rate)
        self.body = bytes(content)
        return len(content) == length

    def _answer(self, do: bool) -> tuple[int, Any, dict[str, str]]:
        path, _, query = self.path.partition("?")
        self.query = dict(parse_qsl(query))
        for methods, pattern, name in _ROUTES if do else []:
            match = re.fullmatch(pattern, path)
            if match and self.command in methods.split():
                try:
                    with self.hub.lock:
                        answer = getattr(self, name)(*[unquote(group or "") for group in match.groups()])
                except HubError as error:
                    return error.answer
                return answer if isinstance(answer, tuple) else (200, answer, {})
        return 404, {"error": "Sorry, we can't find the page you are looking for."}, {}

    def _send(self, status: int, body: Any, headers: dict[str, str]) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(content))} | headers
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _names(self) -> list[str]:
        """Return who asks: the user and the organizations; nothing for a stranger."""
        header = self.headers.get("Authorization")
        names = self.hub.tokens.get(header.removeprefix("Bearer ")) if header else []
        if names is None:
            raise HubError(401, "Invalid credentials in Authorization header")
        return names

    def _user(self) -> str:
        names = self._names()
        if not names:
            raise HubError(401, "Invalid username or password.")
        return names[0]

    def _repo(self, repo_id: str, write: bool = False) -> StubRepo:
        names, repo = self._names(), self.hub.repos.get(repo_id)
        owned = repo_id.partition("/")[0] in names
        if repo is None or (repo.private and not owned):  # which of the two, a stranger is not told
            status, message = (404, "Repository not found") if names else (401, "Invalid username or password.")
            raise HubError(status, message, "RepoNotFound")
        if write and self._user() and not owned:
            raise HubError(403, "Forbidden: pass `create_pr=1` as a query parameter to create a Pull Request")
        return repo

    def _url(self, repo_id: str) -> str:
        return f"http://{self.headers['Host']}/datasets/{repo_id}"

    def whoami(self) -> Any:
        user, *orgs = self._user(), *self._names()[1:]
        token = {"type": "access_token", "accessToken": {"displayName": "stub", "role": self.hub.role}}
        return {"type": "user", "name": user, "fullname": user, "orgs": [{"name": org} for org in orgs], "auth": token}

    def validate_yaml(self) -> Any:
        matter = _front_matter(json.loads(self.body)["content"])
        try:
            yaml.safe_load(matter)
        except yaml.YAMLError as error:
            return 400, {"errors": [{"message": str(error)}], "warnings": []}, {}
        warning = {"message": "empty or missing yaml metadata in repo card"}
        return {"errors": [], "warnings": [] if self._names() and matter else [warning]}

    def create(self) -> Any:
        body = json.loads(self.body)
        namespace = body.get("organization") or self._user()
        repo_id = f"{namespace}/{body['name']}"
        if self._user() and namespace not in self._names():
            raise HubError(403, f'You don\'t have the rights to create a dataset under the namespace "{namespace}"')
        if repo_id in self.hub.repos:
            return 409, {"error": "You already created this dataset repo", "url": self._url(repo_id)}, {}
        self.hub.add_repo(repo_id, private=body.get("visibility") == "private")
        return {"url": self._url(repo_id), "name": repo_id}

    def info(self, repo_id: str, revision: str) -> Any:
        repo = self._repo(repo_id)
        commit = repo.find(revision or "main")
        card = yaml.safe_load(_front_matter(commit.files.get("README.md", b"").decode()))
        siblings = [{"rfilename": path} for path in sorted(commit.files)]
        info = {"id": repo_id, "sha": commit.oid, "private": repo.private, "lastModified": commit.date}
        return info | {"gated": False, "disabled": False, "siblings": siblings, "cardData": card}

    def tree(self, repo_id: str, revision: str, folder: str) -> Any:
        repo = self._repo(repo_id)
        commit, prefix = repo.find(revision), f"{folder}/" if folder else ""
        recursive = self.query.get("recursive", "").lower() == "true"
        paths = [path for path in sorted(_paths(commit)) if path.startswith(prefix)]
        if folder and not paths:
            raise HubError(404, f'{folder} does not exist on "{revision}"', "EntryNotFound", commit.oid)
        return [_entry(commit, path) for path in paths if recursive or "/" not in path[len(prefix) :]]

    def paths_info(self, repo_id: str, revision: str) -> Any:
        repo, form = self._repo(repo_id), parse_qs(self.body.decode())
        commit = repo.find(revision)
        return [_entry(commit, path) for path in form.get("paths", []) if path in _paths(commit)]

    def commits(self, repo_id: str, revision: str) -> Any:
        return [
            {"id": c.oid, "title": c.title, "message": "", "authors": [{"user": c.user}], "date": c.date}
            for c in self._repo(repo_id).history(revision)
        ]

    def refs(self, repo_id: str) -> Any:
        kinds: dict[str, list[dict[str, str]]] = {"heads": [], "tags": [], "pr": []}
        for ref, oid in self._repo(repo_id).refs.items():
            kinds[ref.split("/")[1]].append({"name": ref.split("/", 2)[2], "ref": ref, "targetCommit": oid})
        return {"branches": kinds["heads"], "tags": kinds["tags"], "pullRequests": kinds["pr"], "converts": []}

    def ref(self, repo_id: str, kind: str, name: str) -> Any:
        """Make a branch or tag. The address of a new tag names what is tagged, its body the tag."""
        repo, body = self._repo(repo_id, write=True), json.loads(self.body)
        ref = f"refs/heads/{name}" if kind == "branch" else f"refs/tags/{body.get('tag', name)}"
        if ref in repo.refs:
            raise HubError(409, f"Reference already exists: {ref}")
        repo.refs[ref] = repo.find(name if kind == "tag" else body.get("startingPoint", "main")).oid
        return {}

    def preupload(self, repo_id: str, revision: str) -> Any:
        repo, answers = self._repo(repo_id, write="create_pr" not in self.query), []
        commit = repo.find(revision)
        for file in json.loads(self.body)["files"]:
            entry = _entry(commit, file["path"]) if file["path"] in commit.files else {}
            mode = "lfs" if _is_large(file["path"], file["size"]) else "regular"
            answer = {"path": file["path"], "uploadMode": mode, "shouldIgnore": False}
            answers.append(answer | ({"oid": entry.get("lfs", entry)["oid"]} if entry else {}))
        return {"files": answers}

    def batch(self, repo_id: str) -> Any:
        body = json.loads(self.body)
        repo, answers = self._repo(repo_id, write="ref" in body), []  # for a pull request, no ref is named
        for item in body["objects"]:
            upload = {"href": f"http://{self.headers['Host']}/large/{repo_id}/{item['oid']}"}
            answers.append(item | ({} if item["oid"] in repo.large else {"actions": {"upload": upload}}))
        return {"transfer": "basic", "objects": answers}

    def put(self, repo_id: str, oid: str) -> Any:
        """Take a large file; no token is asked for, as by the storage behind the real Hub."""
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise HubError(400, "The content does not match its SHA-256")
        self.hub.repos[repo_id].large[oid] = self.body
        self.hub.uploaded += len(self.body)
        return b""

    def commit(self, repo_id: str, revision: str) -> Any:
        hub, pull = self.hub, "create_pr" in self.query
        repo = self._repo(repo_id, write=not pull)
        (_, header), *operations = [json.loads(line).values() for line in self.body.splitlines()]
        if hub.rival:
            repo.add(repo.find().files | hub.rival, "A second writer", repo_id.partition("/")[0])
            hub.rival = {}
        base = repo.find(revision)
        if not pull and not base.oid.startswith(header.get("parentCommit", "")):
            raise HubError(412, "A commit has happened since. Please refresh and try again.")
        ref = revision if revision.startswith("refs/") else f"refs/heads/{revision}"
        if pull:
            base = repo.find(header.get("parentCommit", revision))
            ref = f"refs/pr/{sum(name.startswith('refs/pr/') for name in repo.refs) + 1}"
        elif ref not in repo.refs:
            raise HubError(400, f"{revision} is not a branch")
        files = dict(base.files)
        for key, value in operations:
            _apply(repo, files, key, value)
        oid = repo.add(files, header["summary"], self._user(), ref, base.oid).oid
        url, number = self._url(repo_id), ref.rpartition("/")[2]
        answer = {"commitOid": oid, "commitUrl": f"{url}/commit/{oid}"}
        return answer | ({"pullRequestUrl": f"{url}/discussions/{number}"} if pull else {})

    def resolve(self, repo_id: str, revision: str, path: str) -> Any:
        repo = self._repo(repo_id)
        commit = repo.find(revision)
        if path not in commit.files:
            raise HubError(404, "Entry not found", "EntryNotFound", commit.oid)
        content, entry = commit.files[path], _entry(commit, path)
        headers = {"ETag": f'"{entry.get("lfs", entry)["oid"]}"', "X-Repo-Commit": commit.oid, "Accept-Ranges": "bytes"}
        headers["Content-Type"] = "application/octet-stream"
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not asked:
            return 200, content, headers
        start, end = int(asked[1]), min(int(asked[2] or len(content)), len(content) - 1)
        return 206, content[start : end + 1], headers | {"Content-Range": f"bytes {start}-{end}/{len(content)}"}


@lru_cache(maxsize=32)
def _oids(content: bytes) -> tuple[str, str]:
    """Return the hash that git gives the file, and the SHA-256."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest(), hashlib.sha256(content).hexdigest()


def _is_large(path: str, size: int) -> bool:
    return size > 10_000_000 or (size > 0 and PurePosixPath(path).suffix in _LARGE)


def _paths(commit: Commit) -> set[str]:
    """Return the files and the folders."""
    return {str(path) for name in commit.files for path in [name, *PurePosixPath(name).parents]} - {"."}


def _front_matter(text: str) -> str:
    match = re.match(r"---\s*\n(.*?)\n---\s*(\n|$)", text, re.DOTALL)
    return match[1] if match else ""


def _entry(commit: Commit, path: str) -> dict[str, Any]:
    if path not in commit.files:
        return {"type": "directory", "oid": _oids(f"{commit.oid} {path}".encode())[0], "size": 0, "path": path}
    content = commit.files[path]
    oid, sha256 = _oids(content)
    entry: dict[str, Any] = {"type": "file", "oid": oid, "size": len(content), "path": path}
    if _is_large(path, len(content)):
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {len(content)}\n".encode()
        entry |= {"oid": _oids(pointer)[0], "lfs": {"oid": sha256, "size": len(content), "pointerSize": len(pointer)}}
    return entry


def _apply(repo: StubRepo, files: dict[str, bytes], key: str, value: dict[str, str]) -> None:
    path = value["path"]
    if key == "file":
        files[path] = base64.b64decode(value["content"])
    elif key == "lfsFile" and value["oid"] in repo.large:
        files[path] = repo.large[value["oid"]]
    elif key == "lfsFile":
        raise HubError(400, f"LFS pointer pointed to a file that does not exist: {path}")
    elif path not in files:
        raise HubError(404, "A file with this name doesn't exist", "EntryNotFound")
    else:
        del files[path]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # a killed client hangs up in the middle
            super().handle_error(request, client_address)


@contextmanager
def serve_hub(**settings: Any) -> Iterator[StubHub]:
    hub = StubHub(**settings)
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
