"""A model from the hub: its config is checked first, then only the files that are read are fetched."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bench.errors import ModelError
from bench.models.whole import INDEX, empty_model, first_line, shards, told_of

JUDGED = ("config.json", "adapter_config.json")
SMALL = (
    INDEX, "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "vocab.json", "merges.txt", "generation_config.json",
)  # fmt: skip


def from_hub(name: str, revision: str, known: Iterable[str]) -> Path:
    """The folder of a hub's model in the hub client's cache.

    Cached files are not fetched again, and are used if the hub cannot be reached.

    Args:
        name: of the repository.
        revision: a branch, a tag or a commit; the main branch if empty.
        known: our own models' names, for the message.

    Raises:
        ModelError: it is not available, or not a model that we can load.
    """
    folder = _download(name, revision, JUDGED, known)
    if not (folder / "config.json").is_file():
        raise ModelError(f"the model '{name}' on the hub has no config.json: choose another --model")
    with told_of(f"the model '{name}' cannot be loaded", "choose another --model"):
        empty_model(folder)
    commit = folder.name  # a branch may move meanwhile
    _download(name, commit, SMALL, known)
    return _download(name, commit, shards(folder), known)


def _download(name: str, revision: str, files: Iterable[str], known: Iterable[str]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    try:
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=list(files)))
    except Exception as error:  # a broken connection makes its client raise anything
        reason = first_line(error)
        if isinstance(error, RepositoryNotFoundError):
            reason = "no such model, or it is private"
        if isinstance(error, RevisionNotFoundError):
            raise ModelError(
                f"the model '{name}' on the hub has no revision '{revision}': name a branch, a tag or "
                "a commit"
            ) from error
        raise ModelError(
            f"the model '{name}' is neither known ({', '.join(known)}), nor a folder, "
            f"nor available from the hub ({reason})"
        ) from error
