"""What the words of a report mean: the axes that its sweep varies, its metrics, and how results are told."""

from collections.abc import Iterator

from jit_sweep.report.tables import Table, TableCell, TableRow, metrics_of_table
from jit_sweep.results.leaderboard import Results
from search_spaces.axes import AXES
from trainables.evaluation.metrics.registry import metric_of

TOLD = {
    "arm": "one combination of the axes' values",
    "seed": "one training of an arm, from first weights, noise and order of images of its own",
    "±": "standard deviation over an arm's seeds",
    "95 % interval": "where the effect lies, as far as these seeds can tell: 95 of 100 such intervals hold the true one",
    "p, by Holm": "how often luck alone would show so much, made stricter for each further question that was planned",
    "smallest visible gap": "the difference that these seeds would show four times in five",
    "collapsed": "the network has learned nothing: no better than the mean image, or images that hardly differ",
    "still learning": "more training would change the score by more than luck does, so that it may turn the order",
    "held-out real images": "images that no network saw, scored as if they were samples: what a perfect network would get",
    "white images, the mean image": "scored as if they were samples: an arm that is no better has learned nothing",
}


def words_table(results: Results) -> Table:
    """A row for each word."""
    rows = [TableRow((TableCell(word), TableCell(meaning, words=True))) for word, meaning in _meanings(results)]
    return Table("words", "What the words of this report mean.", ("word", "meaning"), tuple(rows))


def _meanings(results: Results) -> Iterator[tuple[str, str]]:
    cells = [*(arm.arm for arm in results.arms), *(trial.entry.arm for trial in results.searched)]
    varied = {axis for cell in cells for axis in cell}
    yield from ((name, axis.about.replace("`", "")) for name, axis in AXES.items() if name in varied)
    for name in metrics_of_table(results.objective, results.scored):
        yield name, metric_of(name).in_plain_words
    yield from TOLD.items()
