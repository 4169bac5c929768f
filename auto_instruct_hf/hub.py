"""The way to the Hub: a built folder becomes a dataset repository, in one commit or not at all."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # in their reference, not in __all__

from .errors import HubError, RecipeError

# A second writer can get in between reading the head and committing; more often than this is no accident.
_ATTEMPTS = 4
_CONFLICTS = (409, 412)
# What an earlier push may have left and this one does not bring; anything else in the repository is its owner's.
_OURS = ("data/", "assets/")
_AGAIN = "The repository is as it was, the build is safe: run the same command again"


@dataclass(frozen=True)
class Pushed:
    """Where a push ended: the address of the dataset, its commit, and whether that commit is new."""

    url: str
    commit: str
    is_new: bool

    def describe(self) -> str:
        """Return one line for a person."""
        what = "Published" if self.is_new else "Nothing has changed since the last push"
        return f"{what}: {self.url} (commit {self.commit[:12]})"


def check_name(repo_id: str) -> None:
    """Check the name of a repository, before anything is spent on what is to go there.

    Args:
        repo_id: `user/name`.

    Raises:
        RecipeError: If no repository can be called that.
    """
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise RecipeError(f"{repo_id!r} is no name of a repository (user/name): {_one_line(error)}") from None
    if "/" not in repo_id:
        raise RecipeError(f"{repo_id!r} is no name of a repository: say whose it is (user/name)")


def push(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool = False,
    revision: str | None = None,
    tag: str | None = None,
    create_pr: bool = False,
    token: str | None = None,
    replaced: Mapping[str, str] | None = None,
) -> Pushed:
    """Publish a folder as a dataset, in one commit.

    Files that did not change are not sent; if none did, there is no commit. Data and plots of an earlier push that this
    one does not bring are removed in the same commit; other files of the repository stay.

    Args:
        folder: A built `dataset` folder.
        repo_id: `user/name`. The repository is made if there is none.
        private: Whether a new repository is private.
        revision: Branch to commit to, made if there is none; None: `main`.
        tag: Name for the commit.
        create_pr: Open a pull request instead of committing to the branch.
        token: Access token; None: HF_TOKEN or the stored one. Never written anywhere.
        replaced: Texts to send in place of files of the folder, by name.

    Returns:
        Where it ended.

    Raises:
        RecipeError: If no repository can be called that.
        HubError: If the Hub refuses or cannot be reached, `private` is asked for a repository that is public, or the
            tag stands on another commit.
    """
    check_name(repo_id)
    folder = Path(folder)
    if not (folder / "README.md").is_file():
        raise HubError(f"{folder} is no built dataset (it has no README.md): build one with scripts/build.py first")
    api = HfApi(token=token)
    with _explained(repo_id):
        api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True)
        if private and not api.repo_info(repo_id, repo_type="dataset").private:
            raise HubError(f"{repo_id} exists and is public: make it private in its settings, or push to another name")
        if revision:
            api.create_branch(repo_id, branch=revision, repo_type="dataset", exist_ok=True)
        pushed = _commit(api, _read(folder, replaced or {}), repo_id, revision, create_pr)
        if tag:
            _tag(api, repo_id, tag, pushed.commit)
    return pushed


def _read(folder: Path, replaced: Mapping[str, str]) -> dict[str, Path | bytes]:
    files: dict[str, Path | bytes] = {
        path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()
    }
    return files | {name: text.encode() for name, text in replaced.items()}


def _commit(
    api: HfApi, files: Mapping[str, Path | bytes], repo_id: str, revision: str | None, create_pr: bool
) -> Pushed:
    for attempt in range(_ATTEMPTS):
        head = api.repo_info(repo_id, repo_type="dataset", revision=revision).sha
        operations = _find_changes(api, files, repo_id, head)
        url = f"{api.endpoint}/datasets/{repo_id}"
        if not operations and head:
            return Pushed(url, head, is_new=False)
        try:
            made = api.create_commit(
                repo_id,
                operations,
                commit_message="Publish the dataset",
                repo_type="dataset",
                revision=revision,
                create_pr=create_pr,
                parent_commit=head,  # so a second writer's commit is never overwritten unseen
            )
        except HfHubHTTPError as error:
            if error.response is not None and error.response.status_code in _CONFLICTS and attempt < _ATTEMPTS - 1:
                continue
            raise
        return Pushed(made.pr_url or url, made.oid, is_new=True)
    raise AssertionError("the last attempt returns or raises")


def _find_changes(
    api: HfApi, files: Mapping[str, Path | bytes], repo_id: str, head: str | None
) -> list[CommitOperationAdd | CommitOperationDelete]:
    """Compare files with the repository by content, so that nothing is sent twice and nothing committed in vain."""
    tree = api.list_repo_tree(repo_id, recursive=True, repo_type="dataset", revision=head)
    remote = {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}
    changes: list[CommitOperationAdd | CommitOperationDelete] = [
        CommitOperationAdd(name, content if isinstance(content, bytes) else str(content))
        for name, content in files.items()
        if not _is_same(content, remote.get(name))
    ]
    gone = [name for name in remote if name.startswith(_OURS) and name not in files]
    return changes + [CommitOperationDelete(name) for name in gone]


def _is_same(file: Path | bytes, entry: RepoFile | None) -> bool:
    if entry is None:
        return False
    content = file if isinstance(file, bytes) else file.read_bytes()
    if entry.lfs is not None:
        return hashlib.sha256(content).hexdigest() == entry.lfs.sha256
    header = f"blob {len(content)}\0".encode()
    return hashlib.sha1(header + content, usedforsecurity=False).hexdigest() == entry.blob_id  # git's own name for it


def _tag(api: HfApi, repo_id: str, tag: str, commit: str) -> None:
    tags = {ref.name: ref.target_commit for ref in api.list_repo_refs(repo_id, repo_type="dataset").tags}
    if tag not in tags:
        api.create_tag(repo_id, tag=tag, revision=commit, repo_type="dataset")
    elif tags[tag] != commit:
        raise HubError(
            f"the dataset is published, but the tag {tag} stands on another commit of {repo_id}: give it another name"
        )


@contextmanager
def _explained(repo_id: str) -> Iterator[None]:
    """Turn whatever the client raises into one line that says what is safe and how to go on."""
    try:
        yield
    except RepositoryNotFoundError:
        raise HubError(f"{repo_id} is not there, or the token may not see it: check the name and HF_TOKEN") from None
    except RevisionNotFoundError:
        raise HubError(f"{repo_id} has no such revision: check --revision") from None
    except LocalTokenNotFoundError:
        raise HubError("no token: set HF_TOKEN, or log in with `hf auth login`") from None
    except OfflineModeIsEnabled:
        raise HubError(f"HF_HUB_OFFLINE is set: unset it to push. {_AGAIN}") from None
    except HfHubHTTPError as error:
        raise HubError(_tell(repo_id, error)) from None
    except json.JSONDecodeError:
        raise HubError(f"the Hub answers {repo_id} with something that is not its own. {_AGAIN}") from None
    except (httpx2.HTTPError, RuntimeError, OSError) as error:
        raise HubError(f"the way to {repo_id} broke: {_one_line(error.__cause__ or error)}. {_AGAIN}") from None


def _tell(repo_id: str, error: HfHubHTTPError) -> str:
    status = error.response.status_code if error.response is not None else 0
    if status == 401:
        return f"the Hub does not know the token (HF_TOKEN): make a new one with write access. {_AGAIN}"
    if status == 403:
        return f"the token may not write to {repo_id}: push to a namespace of yours, or use --create-pr"
    if status in _CONFLICTS:
        return f"somebody else commits to {repo_id} at the same time. {_AGAIN}"
    return f"the Hub answers {repo_id} with {status}: {_one_line(error.server_message or error)}. {_AGAIN}"


def _one_line(error: object) -> str:
    return re.sub(r"(hf_|Bearer )\w+", r"\1***", " ".join(f"{error}".split()))[:200]
