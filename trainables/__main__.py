"""`python -m trainables ASSIGNMENT`: one trial in this process, without Ray, from a YAML or JSON file of an `Assignment`."""

import signal
import sys
import threading
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from trainables.assignment import Assignment
from trainables.config.yaml import parsed
from trainables.report import Ended, ExitCode, Report, TrialOutcome

EXIT_CODES: dict[TrialOutcome, int] = {
    "done": ExitCode.DONE,
    "trained": ExitCode.DONE,
    "diverged": ExitCode.WITHOUT_SCORES,
    "stopped": ExitCode.INTERRUPTED,
    "paused": ExitCode.INTERRUPTED,
}


def main(arguments: list[str]) -> int:
    """Train what the file says, printing each report as a line of JSON. SIGINT and SIGTERM save and stop; the same command
    goes on. Exit codes: 0 done, 1 diverged, 2 a mistake, 130 stopped."""
    if len(arguments) != 1:
        return _complain("usage: python -m trainables ASSIGNMENT, a YAML or JSON file")
    try:
        assignment = Assignment.model_validate(parsed(Path(arguments[0]).read_text()))
    except ValidationError as error:
        return _complain("\n".join(f"{arguments[0]}: {_problem(item)}" for item in error.errors()))
    except OSError as error:
        return _complain(f"{arguments[0]}: {error.strerror}")
    except ValueError as error:
        return _complain(f"{arguments[0]}: {error}")
    try:
        return _train(assignment)
    except (OSError, ValueError) as error:
        return _complain(str(error))


def _train(assignment: Assignment) -> int:
    from trainables.train import train

    asked = threading.Event()
    before = {kind: signal.signal(kind, lambda *_: asked.set()) for kind in (signal.SIGINT, signal.SIGTERM)}
    code: int = ExitCode.MISTAKE
    try:
        for report in train(assignment, interrupted=asked.is_set, tell=_show):
            _show(report)
            if isinstance(report, Ended):
                code = EXIT_CODES[report.outcome]
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
    return code


def _show(report: Report) -> None:
    print(report.model_dump_json(), flush=True)  # noqa: T201


def _problem(item: Any) -> str:
    path = ".".join(str(part) for part in item["loc"])
    return ": ".join(filter(None, (path, str(item["msg"]).removeprefix("Value error, "))))


def _complain(message: str) -> int:
    print(message, file=sys.stderr)  # noqa: T201
    return ExitCode.MISTAKE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
