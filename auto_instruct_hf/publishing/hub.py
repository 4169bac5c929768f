"""Push a built folder to a dataset repository on the Hub, atomically in one commit."""

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
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

from ..errors import HubError, RecipeError

_Result = TypeVar("_Result")

_ATTEMPTS = 4
_SECONDS_TO_WAIT = 1.0
_CONFLICTS = (409, 412)
_TRANSIENT = (*_CONFLICTS, 429, 500, 502, 503, 504)
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
    """Check a repository id.

    Args:
        repo_id: `user/name`.

    Raises:
        RecipeError: If it is not valid.
    """
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise RecipeError(f"{repo_id!r} is not a valid repository id (user/name): {_one_line(error)}") from None
    if "/" not in repo_id:
        raise RecipeError(f"{repo_id!r} is not a valid repository id: add the namespace (user/name)")


def check_access(repo_id: str, *, create_pr: bool = False, token: str | None = None) -> None:
    """Check name, token and permission before the work of a build.

    Args:
        repo_id: `user/name`.
        create_pr: Whether a pull request is opened, for which anybody has the permission.
        token: Access token; None: HF_TOKEN or the stored one.

    Raises:
        RecipeError: If the name is not valid.
        HubError: If there is no token, the Hub rejects it or cannot be reached, or it cannot write there.
    """
    check_name(repo_id)
    api, namespace = _open_api(token), repo_id.partition("/")[0]
    with _translate_errors(repo_id, "Nothing was built or spent"):
        account = _retry(api.whoami)
    owned = {one["name"]: one.get("roleInOrg", "admin") for one in (account, *account.get("orgs", ()))}
    token_info = account.get("auth", {}).get("accessToken", {})
    scopes = token_info.get("fineGrained", {}).get("scoped", ())
    granted = [one for one in scopes if one["entity"].get("name") in (namespace, repo_id)]
    if create_pr:
        return
    if namespace not in owned or owned[namespace] == "read":
        yours = ", ".join(name for name, role in owned.items() if role != "read")
        raise HubError(f"the account {account['name']} cannot write to {namespace}: push to one of {yours}")
    is_limited = token_info.get("role") == "fineGrained" and not any(
        "repo.write" in one["permissions"] for one in granted
    )
    if token_info.get("role") == "read" or is_limited:
        raise HubError(f"the token (HF_TOKEN) cannot write to {namespace}: create one with write access")


def _open_api(token: str | None) -> HfApi:
    if not (token or get_token()):
        raise HubError("no token: set HF_TOKEN, or log in with `hf auth login`")
    return HfApi(token=token)


def push_files(
    files: Mapping[str, Path | bytes],
    repo_id: str,
    *,
    private: bool = False,
    revision: str | None = None,
    tag: str | None = None,
    create_pr: bool = False,
    token: str | None = None,
    owned: str = "",
) -> Pushed:
    """Publish files as a dataset, in one commit.

    Unchanged files are not sent; without changes there is no commit. Files of an earlier push that are no longer among
    them are deleted in the same commit; other files of the repository stay.

    Args:
        files: Files or their content, by their path in the repository.
        repo_id: `user/name`. The repository is created if missing.
        private: Whether a new repository is private.
        revision: Branch to commit to, created if missing; None: `main`.
        tag: Name for the commit.
        create_pr: Open a pull request instead of committing to the branch.
        token: Access token; None: HF_TOKEN or the stored one. Never written anywhere.
        owned: Pattern of files to delete if they are no longer among them; "": none.

    Returns:
        The commit or pull request.

    Raises:
        RecipeError: If it is not valid.
        HubError: If the Hub rejects it or cannot be reached, the repository is public despite `private`, or the tag
            exists on another commit.
    """
    check_name(repo_id)
    if create_pr and tag:
        raise RecipeError("a pull request cannot be tagged: leave out --tag, and tag the commit once it is merged")
    api = _open_api(token)
    with _translate_errors(repo_id):
        _retry(lambda: api.create_repo(repo_id, repo_type="dataset", private=private or None, exist_ok=True))
        if private and not _retry(lambda: api.repo_info(repo_id, repo_type="dataset")).private:
            raise HubError(f"{repo_id} exists and is public: make it private in its settings, or push to another name")
        if revision and not create_pr and not revision.startswith("refs/"):
            _retry(lambda: api.create_branch(repo_id, branch=revision, repo_type="dataset", exist_ok=True))
        tags = _retry(lambda: api.list_repo_refs(repo_id, repo_type="dataset")).tags if tag else []
        tagged = next((one.target_commit for one in tags if one.name == tag), None)
        pushed = _commit(api, files, repo_id, revision, create_pr, tagged, owned)
    if tag and not tagged:
        with _translate_errors(
            repo_id, f"the dataset is published as commit {pushed.commit[:12]}, only the tag {tag} is missing"
        ):
            _retry(lambda: api.create_tag(repo_id, tag=tag, revision=pushed.commit, repo_type="dataset", exist_ok=True))
    return pushed


def _retry(call: Callable[[], _Result]) -> _Result:
    """Retry an idempotent call on transient errors, with exponential backoff."""
    for attempt in range(_ATTEMPTS):
        try:
            return call()
        except (HfHubHTTPError, httpx2.TransportError) as error:
            status = getattr(getattr(error, "response", None), "status_code", None)
            if attempt == _ATTEMPTS - 1 or (status is not None and status not in _TRANSIENT):
                raise
            time.sleep(_SECONDS_TO_WAIT * 2**attempt)
    raise AssertionError("the last attempt returns or raises")


def _commit(
    api: HfApi,
    files: Mapping[str, Path | bytes],
    repo_id: str,
    revision: str | None,
    create_pr: bool,
    tagged: str | None,
    owned: str,
) -> Pushed:
    """Commit the differences; `tagged` is the commit that already has the requested tag, or None."""
    url = f"{api.endpoint}/datasets/{repo_id}"
    heads: list[str] = []

    def attempt() -> Pushed:
        # Each attempt compares again: it sees commits of other writers, and its own whose response was lost.
        branch = None if create_pr else revision
        head = api.repo_info(repo_id, repo_type="dataset", revision=branch).sha or ""
        heads.append(head)
        operations = _find_changes(api, files, repo_id, head, owned)
        if tagged and (operations or tagged != head):
            raise HubError(f"the tag already exists on another commit of {repo_id}: use another name")
        if not operations:
            return Pushed(url, head, is_new=head != heads[0])
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

    # A pull request whose response was lost would be opened twice.
    return attempt() if create_pr else _retry(attempt)


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
    content = file if isinstance(file, bytes) else file.read_bytes()
    if entry.lfs is not None:
        return hashlib.sha256(content).hexdigest() == entry.lfs.sha256
    header = f"blob {len(content)}\0".encode()
    return hashlib.sha1(header + content, usedforsecurity=False).hexdigest() == entry.blob_id  # as git computes it


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
        raise HubError(_describe_status(repo_id, error, safe)) from None
    except json.JSONDecodeError:
        raise HubError(f"the response for {repo_id} is not from the Hub. {safe}") from None
    except (httpx2.HTTPError, RuntimeError, OSError) as error:
        raise HubError(f"the connection to {repo_id} failed: {_one_line(error.__cause__ or error)}. {safe}") from None
    except (ValueError, KeyError, TypeError) as error:  # a response or card that the client cannot use
        raise HubError(f"the Hub rejects {repo_id}: {_one_line(error)}. {done or _SAFE}") from None


def _describe_status(repo_id: str, error: HfHubHTTPError, safe: str) -> str:
    status = error.response.status_code if error.response is not None else 0
    if status == 401:
        return "the Hub rejects the token (HF_TOKEN): create a new one with write access"
    if status == 403:
        said = _one_line(error.server_message or error)
        return f"the token cannot write to {repo_id} ({said}): push to your own namespace, or open a pull request"
    if status in _CONFLICTS:
        return f"another client is committing to {repo_id}. {safe}"
    return f"the Hub responds to {repo_id} with status {status}: {_one_line(error.server_message or error)}. {safe}"


def _one_line(error: object) -> str:
    """Return an error on one line, without the token and query strings, which may be secret."""
    text = " ".join(f"{error}".split()).replace(get_token() or "\0", "***")
    return re.sub(r"\?\S+", "", re.sub(r"(hf_|Bearer )[\w.-]+", r"\1***", text))[:200]
