"""A model's folder laid out as a pipeline that diffusers loads."""

import json
import os
import shutil
import tempfile
from importlib.resources import files
from pathlib import Path

from jit_sweep.errors import UserError
from jit_sweep.models.model_folder import WEIGHTS, read_config, require_new
from trainables.evaluation.metrics.registry import UNDRAWN

NETWORK = "network"
INDEX = {
    "_class_name": ["pipeline", "JitSweepPipeline"],
    "_diffusers_version": "0.36.0",
    NETWORK: [NETWORK, "JitSweepNetwork"],
}
"""What `model_index.json` says: the pipeline's class and the network's, each in a file that lies beside it."""
CODE = {"diffusers_pipeline.py": "pipeline.py", "diffusers_network.py": f"{NETWORK}/{NETWORK}.py"}
"""The files of this folder that diffusers runs, and where it looks for them. Nothing here imports them."""


def export_diffusers(folder: Path, out: Path) -> list[str]:
    """Write the pipeline into an empty or new folder; its files' names. UserError: no model in the one, or not empty the other.

    The network's part of it is the model's folder as it is.
    """
    require_new(out)
    kind = read_config(folder).trial.error_kind
    if kind != "flow":
        rule = "diffusers' pipeline draws along one flow"
        remedy = "score it with `evaluate`" if kind in ("autoencoder", *UNDRAWN) else "draw from it with `sample`"
        raise UserError(f"{rule}, got a model of kind {kind}; {remedy}")
    if not (folder / WEIGHTS).is_file():
        raise UserError(
            f"a model's folder must hold a {WEIGHTS}, as `export` and `import-jit` write it, got {folder}; export it"
        )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as temporary:
            draft = Path(temporary)
            shutil.copytree(folder, draft / NETWORK)
            for name, place in CODE.items():
                (draft / place).write_text((files("jit_sweep.models") / name).read_text())
            (draft / "model_index.json").write_text(json.dumps(INDEX, indent=2) + "\n")
            out.mkdir(exist_ok=True)
            for part in sorted(draft.iterdir()):
                os.replace(part, out / part.name)
    except OSError as error:
        raise UserError(f"the folder to export to must be writable, got {out} ({error.strerror}); give another") from None
    return sorted(str(each.relative_to(out)) for each in out.rglob("*") if each.is_file())
