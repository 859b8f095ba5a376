"""A surface of sampling: an arm's score over guidance, a line for each interval in which guidance acts."""

from jit_sweep.report.figures.frame import LEFT, draw_frame, field_of
from jit_sweep.report.figures.scale import scale_of
from jit_sweep.report.figures.svg import COLOURS, Drawing, Figure
from jit_sweep.report.sampling_surfaces import OFF, Surface
from trainables.evaluation.metrics.registry import metric_of

WIDTH, HEIGHT, ROW = 460.0, 280.0, 18.0


def sampling_figure(surface: Surface, *, place: int) -> Figure:
    """The first intervals, as many as there are colours; the best point is larger. `place`: of the arm, for the name."""
    intervals = list(dict.fromkeys(point.interval for point in surface.points if point.guidance != OFF))[: len(COLOURS)]
    drawing = Drawing(WIDTH, HEIGHT + ROW * len(intervals))
    field = field_of(x=0, y=0, width=WIDTH, height=HEIGHT)
    x = scale_of([point.guidance for point in surface.points], start=field.left, end=field.right, log=False)
    y = scale_of([point.value for point in surface.points], start=field.bottom, end=field.top)
    better = "lower" if metric_of(surface.metric).direction == "minimize" else "higher"
    title = f"{surface.label}: {surface.metric} ({better} is better)"
    draw_frame(drawing, field, x=x, y=y, x_name="guidance", y_name="", title=title)
    for series, interval in enumerate(intervals):
        line = sorted(point for point in surface.points if point.interval == interval or point.guidance == OFF)
        drawing.path([(x(point.guidance), y(point.value)) for point in line], series=series)
        for point in line:
            drawing.dot(x(point.guidance), y(point.value), series=series, radius=6 if point == surface.best else 3.5)
        drawing.dot(LEFT + 5, HEIGHT + ROW * series + 4, series=series)
        drawing.text(LEFT + 14, HEIGHT + ROW * series + 8, f"guidance acts from t = {interval[0]:g} to {interval[1]:g}")
    best = surface.best
    told = f"best: {best.value:.4g} at guidance {best.guidance:g}, interval {best.interval[0]:g} to {best.interval[1]:g}"
    return drawing.finished(f"sampling-{place}", title=title, alt=told)
