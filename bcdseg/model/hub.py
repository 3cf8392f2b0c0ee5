"""Models on the Hugging Face Hub."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bcdseg.errors import ModelNotFoundError, OptionError, WeightsUnavailableError

if TYPE_CHECKING:
    from bcdseg.model.model import Model

FILES = ["config.json", "model.safetensors", "README.md"]
ADDRESS = re.compile(r"hf://(?P<repository>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")


def fetch(address: str) -> Path:
    """Return the local folder of ``hf://owner/name`` or ``hf://owner/name@revision``, downloaded if it isn't cached."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    match = ADDRESS.fullmatch(address)
    if match is None:
        raise OptionError(f"{address!r} is not of the form hf://owner/name or hf://owner/name@revision.")
    try:
        return Path(snapshot_download(match["repository"], revision=match["revision"], allow_patterns=FILES))
    except (RepositoryNotFoundError, RevisionNotFoundError, GatedRepoError) as error:
        raise ModelNotFoundError(
            f"{address}: the hub has no such model, or it is private; log in with 'hf auth login' if it is yours."
        ) from error
    except Exception as error:  # a missing network connection raises many unrelated classes
        raise WeightsUnavailableError(
            f"{address}: could not be downloaded ({type(error).__name__}). On a machine with a network, download "
            f"{', '.join(FILES)} of huggingface.co/{match['repository']} into one folder, and load that folder."
        ) from error


def push(model: Model, repository: str, *, private: bool, token: str | None) -> str:
    """Upload a model, and return the URL of its page."""
    from huggingface_hub import HfApi

    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise OptionError(f"repository={repository!r}: give owner/name.")
    api = HfApi(token=token)
    with tempfile.TemporaryDirectory() as folder:
        saved = model.save(Path(folder) / "model")
        try:
            api.create_repo(repository, private=private, exist_ok=True)
            api.upload_folder(repo_id=repository, folder_path=saved, commit_message=f"Upload {model.name}")
        except Exception as error:  # as above
            raise WeightsUnavailableError(f"hf://{repository}: the upload failed ({type(error).__name__}: {error}).") from error
    return f"{api.endpoint}/{repository}"
