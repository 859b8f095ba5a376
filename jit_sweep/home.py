"""The folder below which a sweep run on one machine keeps everything, and where a sweep's parts lie."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from jit_sweep.commands import SharedOptions
from jit_sweep.errors import UserError
from jit_sweep.spec.sweep import SweepSpec
from jit_sweep.spec.uri import artifact_uri, located, sqlite_path, sqlite_uri
from trainables.storage.address import checked_path

DEFAULT_HOME = Path(".jit-sweep")
LOCATIONS = ("storage", "tracking", "ledger")
"""The keys of a sweep file that say where its parts lie."""


@dataclass(frozen=True)
class Locations:
    """Where one sweep's ledger, tracking and files are, as URIs."""

    ledger: str
    tracking: str
    storage: str

    @property
    def lacks_ledger(self) -> bool:
        """Whether the ledger is an sqlite file that nobody has made yet, which is known without starting SQL."""
        file = sqlite_path(self.ledger)
        return file is not None and not file.is_file()

    @property
    def artifacts(self) -> str | None:
        """Where MLflow's artifacts go; None where its server decides it."""
        return None if self.tracking.startswith("http") else artifact_uri(f"{self.storage.rstrip('/')}/mlflow")


@dataclass(frozen=True)
class Home:
    """A project's folder: `ledger.db`, `mlflow.db`, `store/` and `logs/`."""

    path: Path

    @property
    def ledger(self) -> str:
        return sqlite_uri(self.path / "ledger.db")

    @property
    def probes(self) -> Path:
        """What `plan --probe` has measured."""
        return self.path / "probes.json"

    @property
    def tracking(self) -> str:
        return sqlite_uri(self.path / "mlflow.db")

    @property
    def store(self) -> Path:
        return self.path / "store"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    def log(self, name: str) -> Path:
        """A log file; nowhere for a home that does not exist, since reading makes nothing."""
        return self.logs / name if self.path.exists() else Path(os.devnull)

    def locations(self, spec: SweepSpec | None = None) -> Locations:
        """A sweep's locations: what its file says, and this home for the rest."""
        return Locations(
            ledger=(spec.ledger if spec else None) or self.ledger,
            tracking=(spec.tracking if spec else None) or self.tracking,
            storage=(spec.storage if spec else None) or str(self.store),
        )

    def existing_ledger(self, given: str | None) -> str:
        """The ledger to read: the one that was given, else this home's. UserError: the home has none."""
        if given is None and not (self.path / "ledger.db").exists():
            raise UserError(f"there is no ledger in {self.path}; run a sweep first, or give its home with --home")
        return given or self.ledger

    def shared_options(self, locations: Locations) -> SharedOptions:
        """What a further command has to be told to find a sweep's ledger and models again."""
        own = self.locations()
        return SharedOptions(
            home=None if self == home_at(DEFAULT_HOME) else self.path,
            ledger=None if locations.ledger == own.ledger else locations.ledger,
            tracking=None if locations.tracking == own.tracking else locations.tracking,
        )

    def make(self) -> None:
        """Create the folder. UserError: it cannot be written."""
        try:
            for folder in (self.path, self.store, self.logs):
                folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(prefix=".writable-", dir=self.path).close()
        except OSError as error:
            rule = f"the home must be a folder that can be written, got {self.path} ({error.strerror})"
            raise UserError(f"{rule}; give another with --home or JIT_SWEEP_HOME") from None


def home_at(path: Path) -> Home:
    """The home at a path. UserError: no folder can have that path."""
    try:
        return Home(checked_path(str(path)))
    except ValueError as error:
        raise UserError(f"--home: {error}") from None


def on_this_machine(spec: SweepSpec) -> SweepSpec:
    """The sweep with its relative paths made absolute, since its processes start in other folders."""
    locations = {key: located(uri) for key in LOCATIONS if (uri := getattr(spec, key)) is not None}
    evaluation = spec.evaluation.placed(located)
    changes = {"data": spec.data.located(), "evaluation": evaluation, "baseline": spec.baseline.placed(located)}
    return spec.model_copy(update={**locations, **changes})
