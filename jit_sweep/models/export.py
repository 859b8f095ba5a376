"""A registered model's files, copied out of the registry."""

import os
import tempfile
from pathlib import Path

from jit_sweep.errors import UserError
from jit_sweep.models.model_folder import require_new
from jit_sweep.tracking.registry import load


def export(model: str, folder: Path, *, tracking_uri: str) -> list[str]:
    """Copy the champion's files into an empty or new folder; returns their names. UserError: no champion, or not empty."""
    require_new(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
            files = sorted(load(model, tracking_uri=tracking_uri, folder=Path(temporary)).iterdir())
            folder.mkdir(exist_ok=True)
            for file in files:
                os.replace(file, folder / file.name)
    except OSError as error:
        raise UserError(f"the folder to export to must be writable, got {folder} ({error.strerror}); give another") from None
    return [file.name for file in files]
