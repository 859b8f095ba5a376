"""What the loss term `classifier` trains beside a network: an image's class from its tokens (arXiv 2511.13720, table 11)."""

from torch import Tensor, nn

from trainables.config.trial import TrialConfig


class ClassFinder(nn.Module):
    """One linear map of the mean token."""

    def __init__(self, trial: TrialConfig) -> None:
        super().__init__()
        self.map = nn.Linear(trial.model.width, trial.data.num_classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, N, D] -> logits [B, num_classes]."""
        logits: Tensor = self.map(tokens.float().mean(dim=1))
        return logits
