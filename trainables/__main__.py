"""`python -m trainables CONFIG`: one trial in this process, without Ray. CONFIG is a YAML or JSON file of an `Assignment`."""

import sys
from pathlib import Path

import yaml
from pydantic import ValidationError

from trainables.config import Assignment


def main(arguments: list[str]) -> int:
    """Train what the file says, printing each report as a line of JSON. Exit codes: 0 done, 1 diverged, 2 a mistake."""
    if len(arguments) != 1:
        print("usage: python -m trainables CONFIG", file=sys.stderr)  # noqa: T201
        return 2
    try:
        assignment = Assignment.model_validate(yaml.safe_load(Path(arguments[0]).read_text()))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        print(f"{arguments[0]}: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return _train(assignment)


def _train(assignment: Assignment) -> int:
    from trainables.train import train

    outcome = ""
    try:
        for report in train(assignment):
            print(report.model_dump_json(), flush=True)  # noqa: T201
            outcome = getattr(report, "outcome", "")
    except ValueError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    return 0 if outcome == "done" else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
