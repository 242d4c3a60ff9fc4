"""Uploads an exported folder to the hub."""

from __future__ import annotations

from pathlib import Path

import httpx
from huggingface_hub import HfApi, constants, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.utils import validate_repo_id

_REFUSED = (401, 403)
"""What the hub answers to a login that it does not take."""


def check_push(repository: str) -> None:
    """Check what an upload needs, before anything else is done.

    Args:
        repository: `OWNER/NAME` on the hub.

    Raises:
        ValueError: for another form of name.
        PermissionError: when nobody is logged in, or the token is not valid.
        ConnectionError: when the hub is switched off or cannot be reached.
    """
    if len(parts := repository.split("/")) != 2 or not all(parts):
        raise ValueError(f"--push {repository} is not allowed: write OWNER/NAME.")
    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise ValueError(f"--push {repository} is not allowed: {error}") from error
    if constants.HF_HUB_OFFLINE:
        raise ConnectionError(
            f"--push {repository} needs the hub, and HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set: unset it."
        )
    if get_token() is None:
        raise PermissionError(f"--push {repository} needs a login: run `hf auth login`, or set HF_TOKEN.")
    try:
        HfApi().whoami()
    except httpx.HTTPError as error:
        if isinstance(error, HfHubHTTPError) and error.response.status_code in _REFUSED:
            raise PermissionError(
                f"--push {repository}: the hub answers {error.response.status_code} to this login: run "
                "`hf auth login` again, or set another HF_TOKEN."
            ) from error
        raise ConnectionError(
            f"--push {repository}: the hub cannot be reached ({error}): leave --push out, and upload later."
        ) from error


def push(folder: Path, repository: str, *, private: bool = False) -> str:
    """Upload a folder, and return its address.

    Raises:
        ConnectionError: when the upload fails; the folder stays, and the message has the command to go on.
    """
    api = HfApi()
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        return str(api.upload_folder(repo_id=repository, folder_path=folder))
    except httpx.HTTPError as error:
        raise ConnectionError(
            f"{folder} is complete, but its upload failed ({error}): go on with "
            f"`hf upload {repository} {folder}`."
        ) from error
