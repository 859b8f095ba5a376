"""What stands under a field is found, and only that."""

from jit_sweep.spec.docstrings import field_docstrings
from trainables.config.fields import Frozen


class Above(Frozen):
    """A class's own docstring is no field's."""

    kept: int = 0
    """Said above,
    in two lines."""
    anew: int = 0
    """Said above."""
    bare: int = 0

    @property
    def derived(self) -> int:
        """No field."""
        return self.kept


class Below(Above):
    """Declares a field anew without a word."""

    anew: int = 1
    own: int = 0
    """Said below."""


def test_a_field_is_told_by_the_docstring_under_it() -> None:
    assert field_docstrings(Above) == {"kept": "Said above,\nin two lines.", "anew": "Said above."}


def test_a_class_has_the_docstrings_of_what_it_inherits_and_none_of_what_it_declares_anew() -> None:
    assert field_docstrings(Below) == {"kept": "Said above,\nin two lines.", "own": "Said below."}
