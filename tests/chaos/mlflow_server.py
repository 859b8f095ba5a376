"""An MLflow server that can be killed and started again on the same store and port."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from tests.support.cli import environment
from tests.support.ports import free_ports

READY_S = 180.0


@dataclass
class MlflowServer:
    """One server on the loopback interface, its store and artifacts in a folder."""

    folder: Path
    port: int = field(default_factory=lambda: free_ports(1)[0])
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and do not wait."""
        own = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        store = ["--backend-store-uri", f"sqlite:///{self.folder / 'mlflow.db'}", "--no-serve-artifacts"]
        quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
        with (self.folder / "mlflow.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*own, *store, "--default-artifact-root", str(self.folder / "artifacts")],
                env=environment(self.folder, **quiet),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait(self) -> None:
        """Until it answers."""
        deadline = time.monotonic() + READY_S
        while not self._answers():
            if time.monotonic() > deadline:
                raise RuntimeError(f"MLflow did not come up:\n{(self.folder / 'mlflow.log').read_text()[-4000:]}")
            time.sleep(0.1)

    def kill(self) -> None:
        """End it and all that it started, at once."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def _answers(self) -> bool:
        try:
            with urlopen(f"{self.url}/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False
