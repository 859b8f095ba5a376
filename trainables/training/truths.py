"""What terms of the loss with a module of their own should find, from the clean images of a batch and their classes."""

from collections.abc import Callable

from torch import Tensor

from trainables.config.trial import TrialConfig

Truth = Callable[[Tensor, Tensor], Tensor]
"""Of uint8 images [B, C, H, W] as they are trained on, mirrored or not, and their classes int64 [B], none of them dropped."""


def truths_of(trial: TrialConfig) -> dict[str, Truth]:
    """By the term's kind."""
    return {term.kind: TRUTHS[term.kind](trial) for term in trial.auxiliary}


def check_truths(trial: TrialConfig) -> None:
    """Load the networks that truths need, before anything is trained. ValueError: a file is not what the trial says of it."""
    from trainables.training.teacher import teacher_of  # reads files of weights, which a trial without a teacher does without

    for teacher in trial.teachers:
        teacher_of(teacher, device=trial.device)


def _classes(_: TrialConfig) -> Truth:
    return lambda images, classes: classes


def _teacher_s_tokens(trial: TrialConfig) -> Truth:
    from trainables.training.teacher import teacher_tokens  # as above

    (teacher,) = trial.teachers
    return lambda images, classes: teacher_tokens(trial, teacher, images)


TRUTHS: dict[str, Callable[[TrialConfig], Truth]] = {
    "classifier": _classes,
    "representation": _teacher_s_tokens,
    "alignment": _teacher_s_tokens,
}
"""By the kind of a term that has a module of its own."""
