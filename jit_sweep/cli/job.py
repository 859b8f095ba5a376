"""What a submitted job runs on the cluster: `python -P -m jit_sweep.cli.job SPEC [OPTION ...]`."""

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from jit_sweep.spec.sweep import SweepSpec


def main(text: str, *options: str) -> int:
    """Run a sweep, given as JSON, on the cluster this process was started by; the exit code is that of `jit-sweep run`."""
    from jit_sweep.cli import main as command

    with TemporaryDirectory(prefix="jit-sweep-") as folder:
        # Ray puts the driver's folder first on its workers' path: a raylet started in a checkout would run that instead.
        os.chdir(folder)
        file = Path(folder, f"{SweepSpec.model_validate_json(text).name}.yaml")
        file.write_text(text)
        sys.argv = ["jit-sweep", "run", str(file), "--address", "auto", "--submitted", *options]
        return command()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
