"""The folder below which a sweep run on one machine keeps everything, and where a sweep's parts lie."""

import os
from dataclasses import dataclass
from pathlib import Path

from jit_sweep.errors import UserError
from jit_sweep.spec import SweepSpec

DEFAULT_HOME = Path(".jit-sweep")


@dataclass(frozen=True)
class Places:
    """Where one sweep's ledger, tracking and files are, as URIs."""

    ledger: str
    tracking: str
    storage: str
    artifacts: str | None
    """Where MLflow's artifacts go when no server decides it."""


@dataclass(frozen=True)
class Home:
    """A project's folder: `ledger.db`, `mlflow.db`, `store/` and `logs/`."""

    path: Path

    @property
    def ledger(self) -> str:
        return f"sqlite:///{self.path / 'ledger.db'}"

    @property
    def tracking(self) -> str:
        return f"sqlite:///{self.path / 'mlflow.db'}"

    @property
    def store(self) -> Path:
        return self.path / "store"

    @property
    def artifacts(self) -> Path:
        return self.store / "mlflow"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    def places(self, spec: SweepSpec | None = None) -> Places:
        """A sweep's places: what its file says, and this home for the rest."""
        tracking = (spec.tracking if spec else None) or self.tracking
        return Places(
            ledger=(spec.ledger if spec else None) or self.ledger,
            tracking=tracking,
            storage=(spec.storage if spec else None) or str(self.store),
            artifacts=str(self.artifacts) if tracking == self.tracking else None,
        )

    def make(self) -> None:
        """Create the folder. UserError: it cannot be written."""
        try:
            for folder in (self.path, self.store, self.logs):
                folder.mkdir(parents=True, exist_ok=True)
            probe = self.path / f".writable-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            rule = f"the home must be a folder that can be written, got {self.path} ({error.strerror})"
            raise UserError(f"{rule}; give another with --home or JIT_SWEEP_HOME") from None


def home(path: Path) -> Home:
    return Home(path.expanduser().absolute())
