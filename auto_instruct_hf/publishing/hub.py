"""Push a built folder to a dataset repository on the Hub, atomically in one commit."""

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TypeVar

import httpx2
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # in their reference, not in __all__

from ..core import hash_file, hide_tokens
from ..errors import HubError, RecipeError

_Result = TypeVar("_Result")

_ATTEMPTS = 4
# Of thousands of files, so many are hashed and uploaded before the next; the commit is one.
_FILES_AT_ONCE = 100
_SECONDS_TO_WAIT = 1.0
_TRANSIENT = (409, 412, 429, 500, 502, 503, 504)
_SAFE = "The build is safe, and files already sent are not sent again"


@dataclass(frozen=True)
class Pushed:
    """The result of a push: the URL of the dataset or pull request, its commit, and whether that is new."""

    url: str
    commit: str
    is_new: bool
    license: str | None = None
    """The license on the card."""

    def describe(self) -> str:
        """Return one line of text."""
        what = "Published" if self.is_new else "Nothing has changed since the last push"
        return f"{what}: {self.url} (commit {self.commit[:12]})"


def check_name(repo_id: str) -> None:
    """Raise a RecipeError if a repository id (`user/name`) is not valid."""
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise RecipeError(f"{repo_id!r} is not a valid repository id (user/name): {_one_line(error)}") from None
    if "/" not in repo_id:
        raise RecipeError(f"{repo_id!r} is not a valid repository id: add the namespace (user/name)")


def check_access(repo_id: str, *, create_pr: bool = False, token: str | None = None) -> None:
    """Check name, token and permission before a build. Anybody has the permission to open a pull request.

    Raises a RecipeError if the name is not valid, and a HubError if there is no token (None: HF_TOKEN or the stored
    one), the Hub rejects it or cannot be reached, or it cannot write there.
    """
    check_name(repo_id)
    api, namespace = _open_api(token), repo_id.partition("/")[0]
    with _translate_errors(repo_id, "Nothing was built or spent"):
        account = _retry(api.whoami)
    if create_pr:
        return
    roles = {one["name"]: one.get("roleInOrg", "admin") for one in (account, *account.get("orgs", ()))}
    if roles.get(namespace, "read") == "read":
        yours = ", ".join(name for name, role in roles.items() if role != "read")
        raise HubError(f"the account {account['name']} cannot write to {namespace}: push to one of {yours}")
    scope = account.get("auth", {}).get("accessToken", {})
    can_write = scope.get("role") != "read"
    if scope.get("role") == "fineGrained":
        can_write = any(
            one["entity"].get("name") in (namespace, repo_id) and "repo.write" in one["permissions"]
            for one in scope.get("fineGrained", {}).get("scoped", ())
        )
    if not can_write:
        raise HubError(f"the token (HF_TOKEN) cannot write to {namespace}: create one with write access")


def _open_api(token: str | None) -> HfApi:
    if not (token or get_token()):
        raise HubError("no token: set HF_TOKEN, or log in with `hf auth login`")
    return HfApi(token=token)


def push_files(
    files: Mapping[str, Path | bytes],
    repo_id: str,
    owned: str,
    *,
    private: bool,
    revision: str | None,
    tag: str | None,
    create_pr: bool,
    token: str | None,
) -> Pushed:
    """Publish files, or their content, by their path in the repository. The other arguments are as in `push_build`.

    Unchanged files are not sent; without changes there is no commit. Files that match the pattern `owned` and are no
    longer among `files` are deleted in the same commit; other files of the repository stay.
    """
    check_name(repo_id)
    if create_pr and tag:
        raise RecipeError("a pull request cannot be tagged: leave out --tag, and tag the commit once it is merged")
    api = _open_api(token)
    url, branch = f"{api.endpoint}/datasets/{repo_id}", None if create_pr else revision
    heads: list[str] = []

    def commit() -> Pushed:
        # Each attempt compares again: it sees commits of other writers, and its own whose response was lost.
        head = api.repo_info(repo_id, repo_type="dataset", revision=branch).sha or ""
        heads.append(head)
        operations = _find_changes(api, files, repo_id, head, owned)
        if tagged and (operations or tagged != head):
            raise HubError(f"the tag already exists on another commit of {repo_id}: use another name")
        if not operations:
            return Pushed(url, head, is_new=head != heads[0])
        added = [one for one in operations if isinstance(one, CommitOperationAdd)]
        for start in range(0, len(added), _FILES_AT_ONCE):  # an attempt that fails later does not send them again
            part = added[start : start + _FILES_AT_ONCE]
            api.preupload_lfs_files(repo_id, part, repo_type="dataset", revision=branch, create_pr=create_pr)
        made = api.create_commit(
            repo_id,
            operations,
            commit_message="Publish the dataset",
            repo_type="dataset",
            revision=branch,
            create_pr=create_pr,
            parent_commit=head,
        )
        return Pushed(made.pr_url or url, made.oid, is_new=made.oid != head)

    with _translate_errors(repo_id):
        _retry(lambda: api.create_repo(repo_id, repo_type="dataset", private=private or None, exist_ok=True))
        if private and not _retry(lambda: api.repo_info(repo_id, repo_type="dataset")).private:
            raise HubError(f"{repo_id} exists and is public: make it private in its settings, or push to another name")
        if branch and not branch.startswith("refs/"):
            _retry(lambda: api.create_branch(repo_id, branch=branch, repo_type="dataset", exist_ok=True))
        tags = _retry(lambda: api.list_repo_refs(repo_id, repo_type="dataset")).tags if tag else []
        tagged = next((one.target_commit for one in tags if one.name == tag), None)
        # A pull request whose response was lost would be opened twice.
        pushed = commit() if create_pr else _retry(commit)
    if tag and not tagged:
        done = f"the dataset is published as commit {pushed.commit[:12]}, only the tag {tag} is missing"
        with _translate_errors(repo_id, done):
            _retry(lambda: api.create_tag(repo_id, tag=tag, revision=pushed.commit, repo_type="dataset", exist_ok=True))
    return pushed


def _retry(call: Callable[[], _Result]) -> _Result:
    """Retry an idempotent call on transient errors, with exponential backoff."""
    for attempt in count():
        try:
            return call()
        except (HfHubHTTPError, httpx2.TransportError) as error:
            status = getattr(getattr(error, "response", None), "status_code", None)
            if attempt == _ATTEMPTS - 1 or (status is not None and status not in _TRANSIENT):
                raise
            time.sleep(_SECONDS_TO_WAIT * 2**attempt)
    raise AssertionError


def _find_changes(
    api: HfApi, files: Mapping[str, Path | bytes], repo_id: str, head: str | None, owned: str
) -> list[CommitOperationAdd | CommitOperationDelete]:
    """Return the files whose content differs from the repository, and those to delete."""
    tree = api.list_repo_tree(repo_id, recursive=True, repo_type="dataset", revision=head)
    remote = {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}
    changes: list[CommitOperationAdd | CommitOperationDelete] = [
        CommitOperationAdd(name, content if isinstance(content, bytes) else str(content))
        for name, content in files.items()
        if not _is_same(content, remote.get(name))
    ]
    gone = [name for name in remote if re.fullmatch(owned, name) and name not in files]
    return changes + [CommitOperationDelete(name) for name in gone]


def _is_same(file: Path | bytes, entry: RepoFile | None) -> bool:
    if entry is None:
        return False
    if entry.lfs is not None:
        found = hashlib.sha256(file).hexdigest() if isinstance(file, bytes) else hash_file(file)
        return found == entry.lfs.sha256
    content = file if isinstance(file, bytes) else file.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest() == entry.blob_id


@contextmanager
def _translate_errors(repo_id: str, done: str = "") -> Iterator[None]:
    """Translate errors of the client to a HubError that says what is safe and how to continue."""
    safe = done or f"{_SAFE}: run the same command again"
    try:
        yield
    except GatedRepoError:
        raise HubError(f"{repo_id} is gated, and the token has no access to it. {safe}") from None
    except RepositoryNotFoundError:
        raise HubError(f"{repo_id} does not exist, or the token cannot read it: check the name and HF_TOKEN") from None
    except RevisionNotFoundError:
        raise HubError(f"{repo_id} has no such revision: check --revision") from None
    except OfflineModeIsEnabled:
        raise HubError(f"HF_HUB_OFFLINE is set: unset it to push. {safe}") from None
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        said = _one_line(error.server_message or error)
        message = f"the Hub responds to {repo_id} with status {status}: {said}. {safe}"
        if status == 401:
            message = "the Hub rejects the token (HF_TOKEN): create a new one with write access"
        elif status == 403:
            remedy = "push to your own namespace, or open a pull request"
            message = f"the token cannot write to {repo_id} ({said}): {remedy}"
        elif status in (409, 412):
            message = f"another client is committing to {repo_id}. {safe}"
        raise HubError(message) from None
    except json.JSONDecodeError:
        raise HubError(f"the response for {repo_id} is not from the Hub. {safe}") from None
    except (httpx2.HTTPError, RuntimeError, OSError) as error:
        raise HubError(f"the connection to {repo_id} failed: {_one_line(error.__cause__ or error)}. {safe}") from None
    except (ValueError, KeyError, TypeError) as error:  # a response or card that the client cannot use
        raise HubError(f"the Hub rejects {repo_id}: {_one_line(error)}. {done or _SAFE}") from None


def _one_line(error: object) -> str:
    """Return an error on one line, without the token and query strings, which may be secret."""
    return hide_tokens(" ".join(f"{error}".split()).replace(get_token() or "\0", "***"))[:200]
