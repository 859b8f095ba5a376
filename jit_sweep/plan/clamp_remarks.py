"""What the clamps at t near 1 do to the cells of a plan, in lines: in training, and in sampling along `prediction`."""

from jit_sweep.plan.entry import Plan, one_a_cell
from jit_sweep.plan.search import searches
from jit_sweep.spec.axis_spaces import Range
from trainables.config.diffusion import DiffusionConfig
from trainables.diffusion.clamp import clamp_bias, clamped_share

FAIR = 0.005
"""Predictions whose samples the clamp changes apart by more than this share are told to be scored without it too."""


def clamp_remarks(plan: Plan) -> list[str]:
    """For a clamp axis: what share of the training samples each value touches, in each kind of cell of the plan."""
    known = [entry for entry in one_a_cell(plan.whole) if entry.trial.method.kind == "denoiser"]
    touched = [entry.trial.diffusion for entry in known if "t_eps_train" in entry.arm]
    for search in searches(plan.spec).values():
        space = search.axes.get("t_eps_train", ())
        values = (space.low, space.high) if isinstance(space, Range) else space
        touched += [plan.baseline.diffusion.model_copy(update={"t_eps_train": value}) for value in values]
    return [*dict.fromkeys(_clamp_remark(diffusion) for diffusion in touched), *_sampling_clamp_remarks(plan)]


def _sampling_clamp_remarks(plan: Plan) -> list[str]:
    """Along `prediction`, how each way to sample biases the predictions apart, by an exact network."""
    biases: dict[str, dict[str, float]] = {}
    for entry in one_a_cell(plan.whole):
        diffusion, how = entry.trial.diffusion, entry.evaluation
        if "prediction" in entry.arm and entry.trial.error_kind == "flow":
            steps = f"t_eps_sample={how.t_eps_sample:g} in {how.steps} {how.sampler} steps"
            biases.setdefault(steps, {})[diffusion.prediction] = clamp_bias(diffusion, how)
    return [_bias_remark(steps, found) for steps, found in biases.items()]


def _bias_remark(steps: str, biases: dict[str, float]) -> str:
    shown = ", ".join(f"{prediction} {100 * bias:+.1f} %" for prediction, bias in biases.items())
    apart = max(biases.values()) - min(biases.values()) > FAIR
    remedy = "; score with t_eps_sample=0 too, which x and v allow" if apart else ""
    return f"{steps} changes the standard deviation of an exact network's samples: {shown}{remedy}"


def _clamp_remark(diffusion: DiffusionConfig) -> str:
    sampling = ", ".join(f"{key}={value}" for key, value in diffusion.t_sampling.model_dump().items() if key != "kind")
    where = f"{diffusion.prediction}-prediction, {diffusion.loss}-loss, {diffusion.t_sampling.kind}({sampling})"
    return f"t_eps_train={diffusion.t_eps_train:g} touches {clamped_share(diffusion):.2g} of the samples under {where}"
