"""Models on the Hugging Face Hub: ``hf:USER/REPO``, or ``hf:USER/REPO@REVISION``."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from esrgan_lightning.errors import InputError, first_line, needs_extra

HUB = "hf:"
#: What a run writes and ``esrgan push`` uploads.
GENERATOR = "generator.safetensors"
_FORM = re.compile(r"hf:([\w-][\w.-]*/[\w-][\w.-]*)(?:@([\w-][\w./-]*))?", re.ASCII)
_LARGEST = 2**31  # bytes; ESRGAN's generator has 67 million


@cache  # a revision stays the same for as long as a process runs
def fetch_hub(model: str) -> Path:
    """The file of a model on the Hub: ``generator.safetensors``, or the only .safetensors file at the top.

    It lies in huggingface_hub's own cache, which serves where there is no network. Its digest is held to the
    one that the Hub states.

    Raises:
        InputError: The extra ``hub`` is missing, or there is no such model, or not one .safetensors file, or
            one that is too large, that does not arrive, or is not what the Hub says.
    """
    found = _FORM.fullmatch(model)
    if found is None or ".." in model:
        raise InputError(
            f"{model} must be hf:USER/REPO or hf:USER/REPO@REVISION, a branch, tag or commit; a file of that "
            f"name is ./{model}"
        )
    repo, revision = found[1], found[2] or "main"
    hub = _library(model)
    try:
        told = hub.HfApi().model_info(repo, revision=revision, files_metadata=True)
    except Exception as error:  # huggingface_hub's, and those of the HTTP library below it
        if (reason := _refusal(error, revision)) is not None:
            raise InputError(f"{model}: {reason}") from error
        return _kept(hub, model, repo, revision, error)
    files = {each.rfilename: each for each in told.siblings or ()}
    name = _generator(model, files)
    if (size := files[name].size or 0) > _LARGEST:
        raise InputError(f"{model}: {name} has {size} bytes, and at most {_LARGEST} are fetched")
    try:
        path = Path(hub.hf_hub_download(repo, name, revision=revision))
    except Exception as error:
        raise InputError(
            f"{model}: {name} could not be downloaded ({first_line(error)}): try again"
        ) from error
    if not _is(path, files[name]):
        path.resolve().unlink()
        path.unlink(missing_ok=True)
        raise InputError(f"{model}: {name} is not what the Hub says it is; it was deleted: try again")
    return path


def check_repo(repo: str) -> None:
    """Raises InputError for a repository's name that is not ``USER/REPO``."""
    found = _FORM.fullmatch(f"{HUB}{repo}")
    if found is None or found[2] or ".." in repo:
        raise InputError(f"--to {repo} must be USER/REPO")


def push_hub(repo: str, files: Mapping[str, bytes], *, private: bool = False) -> str:
    """Uploads files, by their names there, in one commit: all of them arrive, or none.

    ``repo`` is made where it is not there; one that is there must be private where ``private`` says so.

    Returns:
        Its address.

    Raises:
        InputError: The extra ``hub`` is missing, or the Hub refuses.
    """
    hub = _library(f"--to {repo}")
    api = hub.HfApi()
    try:
        address = api.create_repo(repo, private=private or None, exist_ok=True)
        if private and not api.model_info(repo).private:
            raise ValueError("--private: it is there already and public")
        operations = [hub.CommitOperationAdd(name, data) for name, data in files.items()]
        api.create_commit(repo, operations, commit_message="Upload a model trained with esrgan-lightning")
    except Exception as error:
        remedy = "nothing has changed there: try again"
        if _status(error) in (401, 403):
            remedy = "`hf auth login` as one who may write there"
        raise InputError(f"{repo} was not updated ({first_line(error)}): {remedy}") from error
    return str(address)


def _library(what: str) -> Any:
    try:
        import huggingface_hub
    except ModuleNotFoundError as error:
        raise needs_extra(f"{what} needs", "hub") from error
    return huggingface_hub


def _generator(model: str, names: Iterable[str]) -> str:
    """Names come from a stranger: only plain ones at the top count."""
    found = [name for name in names if re.fullmatch(r"[\w-][\w.-]*\.safetensors", name, re.ASCII)]
    if GENERATOR in found:
        return GENERATOR
    if len(found) == 1:
        return found[0]
    raise InputError(
        f"{model} holds {'several' if found else 'no'} .safetensors files and no {GENERATOR}: download "
        "one by hand and give the file; pickles (.pth, .ckpt) are not fetched from there"
    )


def _refusal(error: Exception, revision: str) -> str | None:
    """What the Hub answers; None where it does not answer."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return "its owner asks for consent: give it on the model's page, then `hf auth login`"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "the Hub has no such model, or it is private: see to the spelling, or `hf auth login`"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"it has no revision {revision}: give a branch, tag or commit"
    return f"the Hub answers {first_line(error)}" if _status(error) < 500 else None


def _kept(hub: Any, model: str, repo: str, revision: str, error: Exception) -> Path:
    from huggingface_hub.constants import ENDPOINT, HF_HUB_CACHE

    try:
        folder = Path(hub.snapshot_download(repo, revision=revision, local_files_only=True))
    except hub.errors.LocalEntryNotFoundError:
        raise InputError(
            f"{model}: {ENDPOINT} does not answer ({first_line(error)}), and the model is not in "
            f"{HF_HUB_CACHE}: download {GENERATOR} elsewhere and give the file"
        ) from error
    return folder / _generator(model, [path.name for path in folder.iterdir()])


def _is(path: Path, stated: Any) -> bool:
    """Whether a file has the digest that the Hub states: SHA-256, or Git's SHA-1 of small files."""
    with path.open("rb") as file:
        if stated.lfs is not None:
            return hashlib.file_digest(file, "sha256").hexdigest() == str(stated.lfs.sha256)
        data = file.read()
    digest = hashlib.sha1(b"blob %d\0%b" % (len(data), data), usedforsecurity=False)
    return digest.hexdigest() == str(stated.blob_id)


def _status(error: Exception) -> int:
    return int(getattr(getattr(error, "response", None), "status_code", 500))
