"""Images that a sweep's arms were promised when it was launched, where they are matched by what machines took then."""

from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.spec.stored import readable
from jit_sweep.spec.sweep import SweepSpec
from search_spaces.cells import arm_label


def promised_images(reader: LedgerReader, spec: SweepSpec) -> dict[str, int]:
    """By the arm's label; nothing where the file's budget is another now, or the ledger has no such sweep."""
    row = next((row for row in reader.sweeps() if row.name == spec.name), None)
    stored = readable(row.spec) if row is not None else None
    if stored is None or _by(stored) != _by(spec):
        return {}
    return {arm_label(row.judged): row.images for row in reader.entries(spec.name) if row.origin != "search"}


def _by(spec: SweepSpec) -> tuple[object, ...]:
    """What images are promised by."""
    return spec.budget.matched, spec.budget.images_per_trial, spec.budget.count_earlier_stages
