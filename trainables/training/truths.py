"""What terms of the loss with a module of their own should find, from the clean images of a batch and their classes."""

from collections.abc import Callable

from torch import Tensor

from trainables.config.objective import AuxiliaryTerm, ClassifierTerm, PerceptualTerm, TeacherConfig
from trainables.config.trial import TrialConfig
from trainables.networks.network import Network
from trainables.networks.sight import Sight

Truth = Callable[[Tensor, Tensor], Tensor]
"""Of uint8 images [B, C, H, W] as they are trained on, mirrored or not, and their classes int64 [B], none of them dropped."""


def truths_of(trial: TrialConfig) -> dict[str, Truth]:
    """By the term's kind."""
    return {term.kind: TRUTHS[term.kind](trial, term) for term in trial.auxiliary}


def check_truths(trial: TrialConfig) -> None:
    """Load the networks that truths need, before anything is trained. ValueError: a file is not what the trial says of it."""
    if trial.teachers:
        from trainables.training.teacher import teachers_of  # reads files of weights, which most trials do without

        teachers_of(trial, device=trial.device)


def open_sight(network: Network) -> None:
    """Let the modules of a network's terms that look at what it makes do so by their teachers. Raises as `check_truths`."""
    for term in network.trial.auxiliary:
        if isinstance(term, PerceptualTerm):
            from trainables.training.teacher import sight_of  # as above

            module = network.auxiliary[term.kind]
            assert isinstance(module, Sight)
            module.look = sight_of(network.trial, term.teacher, device=network.trial.device)


def _classes(_: TrialConfig, _term: AuxiliaryTerm) -> Truth:
    return lambda images, classes: classes


def _teacher(term: AuxiliaryTerm) -> TeacherConfig:
    assert not isinstance(term, ClassifierTerm)
    return term.teacher


def _teacher_s_tokens(trial: TrialConfig, term: AuxiliaryTerm) -> Truth:
    from trainables.training.teacher import teacher_tokens  # as above

    return lambda images, classes: teacher_tokens(trial, _teacher(term), images)


def _tokens_as_seen(trial: TrialConfig, term: AuxiliaryTerm) -> Truth:
    from trainables.training.teacher import seen_tokens  # as above

    return lambda images, classes: seen_tokens(trial, _teacher(term), images)


TRUTHS: dict[str, Callable[[TrialConfig, AuxiliaryTerm], Truth]] = {
    "classifier": _classes,
    "representation": _teacher_s_tokens,
    "alignment": _teacher_s_tokens,
    "perceptual": _tokens_as_seen,
}
"""By the kind of a term that has a module of its own."""
