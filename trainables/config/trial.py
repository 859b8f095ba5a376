"""What a trial is: a frozen, torch-free description from which the same weights come bit for bit.

`TrialConfig` holds everything that changes the numbers and nothing else; its id is a hash of its content. How long it trains
(the budget), how it is scored and where its files lie are kept outside it, in `trainables.assignment`.
"""

from collections.abc import Callable

from trainables.config.average import RESERVED
from trainables.config.fields import (
    choices,
    content_hash,
    identity,
    must_hold,
    nearest,
)
from trainables.config.objective import RepresentationTerm, WeightedTerm
from trainables.config.path import KarrasPath, StagedPath
from trainables.config.space import LatentSpace
from trainables.config.trial_fields import Canvas, DataConfig, TrialFields
from trainables.config.trunks import OF_PIXELS, EncoderDecoderTrunk, EncoderPretrainerTrunk, UvitSizes

__all__ = ["ENCODING", "MATHS_VERSION", "TRUNK_OF_METHOD", "Canvas", "DataConfig", "TrialConfig", "id_by_seed"]

TRUNK_OF_METHOD = {
    "autoencoder": "autoencoder",
    "classifier": "unet_classifier",
    "masked_tokens": "masked_autoencoder",
    "encoder_pretraining": "encoder_pretrainer",
}
"""Trunks that one method trains, and trains alone."""

ENCODING = ("encoder_decoder", "encoder_pretrainer", "autoencoder")
"""Trunks with an encoder, which a child may begin from alone."""

DCT_SIDE = 8
"""Side of the blocks whose frequencies the term `frequency` weighs."""

MATHS_VERSION = 2
"""Part of every trial's identity: raised in the commit that changes what a configuration trains to."""

TRITON_HEAD_DIM = 128
"""Widest head of our own attention: above it what a program works on does not fit its registers."""


class TrialConfig(TrialFields):
    """Everything that decides a trial's numbers."""

    @must_hold
    def the_warmup_is_in_images(self) -> None:
        warmup = self.optimiser.warmup_images
        if not isinstance(warmup, int):
            rule = "`warmup_images` of a trial must be a number of images"
            raise ValueError(f"{rule}, got {warmup.kind}; multiply it out, since only a sweep file knows data and budget")

    @must_hold
    def patch_divides_image(self) -> None:
        patch, size = self.model.patch_size, self.canvas.side
        if self.model.sees_patches and size % patch:
            valid = nearest([d for d in range(1, size + 1) if size % d == 0], patch)
            what = "image_size" if self.space.kind == "pixels" else "the side of the code"
            rule = f"`patch_size` must divide {what}"
            raise ValueError(f"{rule}, got patch_size={patch}, {what.replace('the ', '')}={size}; try {choices(valid)}")

    @must_hold
    def a_code_is_known(self) -> None:
        space, size = self.space, self.data.image_size
        if not isinstance(space, LatentSpace):
            return
        if space.trunk is None or space.encoder.kind == "stage":
            rule = "`space.encoder` of a trial must be a trial or a file, with the autoencoder's `trunk`"
            remedy = "only a sweep file knows its stages" if space.encoder.kind == "stage" else "write `trunk`"
            raise ValueError(f"{rule}, got a {space.encoder.kind}{' without trunk' if space.trunk is None else ''}; {remedy}")
        if size % (unit := 2**space.trunk.halvings):
            rule = f"`space` latent halves the side of images {space.trunk.halvings} times"
            raise ValueError(
                f"{rule}, got image_size={size}; take images of a multiple of {unit}, or an encoder of fewer levels"
            )

    @must_hold
    def codes_are_no_pixels(self) -> None:
        if self.space.kind == "pixels":
            return
        method, diffusion = self.method.kind, self.diffusion
        odd = [f"method={method}"] if method not in ("denoiser", "masked_tokens") else []
        odd += [f"path={diffusion.path.kind}"] if diffusion.path.kind != "flow" else []
        odd += [f"dimensions={diffusion.dimensions}"] if diffusion.dimensions is not None else []
        odd += [f"term.{term.kind}" for term in diffusion.terms if term.kind in ("frequency", "representation")]
        odd += ["graphs=true"] if self.graphs else []
        if odd:
            rule = "`space` latent takes masked tokens, or a denoiser on the path flow, without lift, graphs or pixel terms"
            raise ValueError(f"{rule}, got {', '.join(odd)}; change them, or try space: {{kind: pixels}}")

    @must_hold
    def a_lift_loses_nothing(self) -> None:
        dimensions, patch, channels = self.diffusion.dimensions, self.model.patch_size, self.canvas.channels
        if dimensions is not None and dimensions < (numbers := channels * patch**2):
            rule = "`dimensions` must be at least the numbers of a patch, channels x patch_size^2"
            got = f"dimensions={dimensions}, channels={channels}, patch_size={patch}"
            raise ValueError(f"{rule}, got {got}; try {numbers} or more, or dimensions: null")

    @must_hold
    def what_is_lifted_has_no_pixels(self) -> None:
        model, several = self.model, self.data.image_size > 1
        odd = [f"head={model.head.kind}"] if model.head.kind != "linear" else []
        odd += [f"embedding={model.embedding.kind}"] if model.embedding.kind == "conv_stem" else []
        odd += [f"terms={term.kind}" for term in self.diffusion.terms if several and isinstance(term, WeightedTerm)]
        if self.diffusion.dimensions is not None and odd:
            rule = "`dimensions` needs a linear head, a linear or bottleneck embedding, and no loss term that reads pixels"
            raise ValueError(f"{rule}, got {', '.join(odd)}; change them, or try dimensions: null")

    @must_hold
    def an_mlp_sees_one_patch(self) -> None:
        if self.model.trunk.kind == "mlp" and (self.grid > 1 or self.optimiser.method != "adamw"):
            rule = "`trunk` mlp takes images of one patch, and adamw"
            got = f"patch_size={self.model.patch_size}, image_size={self.data.image_size}, optimiser={self.optimiser.method}"
            raise ValueError(f"{rule}, got {got}; try trunk=transformer, or patch_size={self.data.image_size}")

    @must_hold
    def a_trunk_of_one_method_is_trained_by_it(self) -> None:
        trunk, method = self.model.trunk.kind, self.method.kind
        for own, only in TRUNK_OF_METHOD.items():
            if (trunk == only) != (method == own):
                rule = f"`method` {own} trains the trunk {only}, and no other method does"
                raise ValueError(f"{rule}, got method={method}, trunk={trunk}; change one of the two")

    @must_hold
    def a_classifier_has_several_classes_in_the_flow(self) -> None:
        path, classes = self.diffusion.path.kind, self.data.num_classes
        if self.method.kind == "classifier" and (path != "flow" or classes == 1):
            rule = "`method` classifier finds one of several classes in noisy images of the path flow"
            raise ValueError(f"{rule}, got path={path}, num_classes={classes}; try path: {{kind: flow}}, or images of classes")

    @must_hold
    def an_encoder_is_pretrained_plainly(self) -> None:
        model, dimensions = self.model, self.diffusion.dimensions
        odd = [f"{name}={str(on).lower()}" for name, on in (("compile", self.compile), ("graphs", self.graphs)) if on]
        odd += [f"optimiser={self.optimiser.method}"] if self.optimiser.method != "adamw" else []
        odd += [f"kernels={self.kernels}"] if self.kernels != "torch" else []
        odd += [f"dimensions={dimensions}"] if dimensions is not None else []
        odd += [f"width={model.width}"] if model.width % 2 else []
        if isinstance(model.trunk, EncoderPretrainerTrunk) and odd:
            rule = "`method` encoder_pretraining takes adamw, torch's kernels and an even `width`, no compile, graphs or lift"
            raise ValueError(f"{rule}, got {', '.join(odd)}; change that")

    @must_hold
    def masked_tokens_are_trained_plainly(self) -> None:
        odd = [f"{name}={str(on).lower()}" for name, on in (("compile", self.compile), ("graphs", self.graphs)) if on]
        odd += [f"optimiser={self.optimiser.method}"] if self.optimiser.method != "adamw" else []
        odd += [f"kernels={self.kernels}"] if self.kernels != "torch" else []
        odd += [f"dimensions={self.diffusion.dimensions}"] if self.diffusion.dimensions is not None else []
        if self.method.kind == "masked_tokens" and odd:
            rule = "`method` masked_tokens shows another number of tokens in each update: it takes adamw and torch's kernels"
            raise ValueError(f"{rule}, without compile, graphs or dimensions, got {', '.join(odd)}; leave them out")

    @must_hold
    def a_trunk_of_pixels_halves_the_image(self) -> None:
        trunk, size, patch, method = self.model.trunk, self.canvas.side, self.model.patch, self.optimiser.method
        if not isinstance(trunk, OF_PIXELS):
            return
        if size % (patch * 2**trunk.halvings) or self.diffusion.dimensions is not None:
            rule = f"`trunk` {trunk.kind} halves the side of images {trunk.halvings} times, and takes no lifted patches"
            got = f"image_size={size}, patch={patch}, dimensions={self.diffusion.dimensions}"
            raise ValueError(f"{rule}, got {got}; try fewer `multipliers`, or trunk=transformer")
        if method != "adamw" or self.kernels != "torch":
            rule = f"`trunk` {trunk.kind} takes adamw, and torch's kernels"
            raise ValueError(f"{rule}, got optimiser={method}, kernels={self.kernels}; try optimiser=adamw, kernels=torch")

    @must_hold
    def a_part_of_a_parent_is_a_part_of_the_network(self) -> None:
        parts, trunk = self.parent.parts if self.parent is not None else (), self.model.trunk.kind
        if parts and trunk not in ENCODING:
            rule = f"`parent.parts` names what the trunks {choices(ENCODING)} are made of"
            raise ValueError(f"{rule}, got parts={', '.join(parts)}, trunk={trunk}; leave it out")

    @must_hold
    def an_encoder_and_its_decoder_fit(self) -> None:
        model, trunk = self.model, self.model.trunk
        if not isinstance(trunk, EncoderDecoderTrunk):
            return
        decoder = trunk.decoder(model.encoder)
        if decoder.depth > model.depth or decoder.width % decoder.heads or model.width % 2:
            rule = "`trunk` encoder_decoder has a decoder of at most the encoder's depth, heads that divide its width, and an"
            got = f"width={model.width}, depth={model.depth}, decoder_width={decoder.width}, decoder_depth={decoder.depth}"
            raise ValueError(f"{rule} even `width`, got {got}, decoder_heads={decoder.heads}; leave the decoder's out")
        if self.optimiser.method != "adamw" or self.kernels != "torch":
            rule, got = "takes adamw, and torch's kernels", f"optimiser={self.optimiser.method}, kernels={self.kernels}"
            raise ValueError(f"`trunk` encoder_decoder {rule}, got {got}; try optimiser=adamw, kernels=torch")

    @must_hold
    def terms_fit_the_images(self) -> None:
        kinds, data = {term.kind for term in self.diffusion.terms}, self.data
        smallest = min(self.diffusion.path.sides(data.image_size))
        if "frequency" in kinds and (data.channels != 3 or smallest < DCT_SIDE):
            rule = f"the term frequency needs colour images of at least {DCT_SIDE} pixels"
            raise ValueError(f"{rule}, got channels={data.channels}, image_size={smallest}; leave it out of `terms`")

    @must_hold
    def terms_tap_a_block_that_sees_every_token(self) -> None:
        model, routing = self.model, self.model.routing
        for term in self.diffusion.tapped:
            tap, trunk = term.tap(model), model.trunk.kind
            ends = model.depth if routing.kind == "none" else routing.ends
            if trunk != "transformer" or tap >= model.depth or ends < tap <= model.depth - ends:
                rule = f"the term {term.kind} reads tokens before the last block of a transformer, where none skip blocks"
                got = f"block={tap}, depth={model.depth}, trunk={trunk}, routing={routing.kind}"
                raise ValueError(f"{rule}, got {got}; try another `block`, or leave it out of `terms`")

    @must_hold
    def a_classifier_has_classes_to_find(self) -> None:
        model = self.model
        for term in self.diffusion.tapped:
            known = model.class_tokens and term.tap(model) > model.class_tokens_start
            if term.kind == "classifier" and (known or self.data.num_classes == 1):
                rule = "the term classifier finds one of several classes, before class tokens join"
                got = f"num_classes={self.data.num_classes}, block={term.tap(model)}"
                start = f"class_tokens_start={model.class_tokens_start}"
                raise ValueError(f"{rule}, got {got}, {start}; try a smaller `block`, or leave it out of `terms`")

    @must_hold
    def a_teacher_sees_images(self) -> None:
        channels, dimensions, graphs = self.data.channels, self.diffusion.dimensions, self.graphs
        if self.teachers and (channels not in (1, 3) or dimensions is not None or graphs):
            kind = next(term.kind for term in self.auxiliary if term.kind != "classifier")
            rule = f"the term {kind} shows a teacher images of 1 or 3 channels, and no graph replays that"
            got = f"channels={channels}, dimensions={dimensions}, graphs={str(graphs).lower()}"
            raise ValueError(f"{rule}, got {got}; try graphs=false, or leave it out")

    @must_hold
    def stages_hold_whole_patches(self) -> None:
        path, size, patch = self.diffusion.path, self.data.image_size, self.model.patch_size
        if isinstance(path, StagedPath) and path.transform == "downsample":
            unit = patch << (path.stages - 1)
            if size % unit:
                rule = f"the first of {path.stages} `stages` must hold whole patches: image_size is a multiple of {unit}"
                raise ValueError(f"{rule}, got image_size={size}, patch_size={patch}; try fewer stages or a smaller patch_size")

    @must_hold
    def a_batch_is_of_whole_units(self) -> None:
        unit = self.unit
        if self.batch_size % unit.images:
            near = max(1, round(self.batch_size / unit.images)) * unit.images
            rule, got = f"`batch_size` must be a multiple of {unit.of}", f"batch_size={self.batch_size}, {unit}"
            raise ValueError(f"{rule}, got {got}; try batch_size={near}")

    @must_hold
    def stages_go_through_a_transformer(self) -> None:
        if not isinstance(self.diffusion.path, StagedPath):
            return
        model, plain = self.model, {"trunk": "transformer", "routing": "none", "output_skip": "none", "graphs": False}
        values = {
            "trunk": model.trunk.kind,
            "routing": model.routing.kind,
            "output_skip": model.output_skip,
            "graphs": self.graphs,
        }
        odd = [f"{name}={value}" for name, value in values.items() if value != plain[name]]
        odd += [f"head={model.head.kind}"] if model.head.kind == "pixel_transformer" else []
        odd += [f"term={term.kind}" for term in self.diffusion.tapped if isinstance(term, RepresentationTerm)]
        if odd:
            rule = "a `path` of stages goes through a transformer of several grids, which has no routing, output skip, graphs"
            raise ValueError(f"{rule}, head pixel_transformer or term representation, got {', '.join(odd)}; leave that out")

    @must_hold
    def noise_levels_are_told_to_who_can_hear_them(self) -> None:
        model, kind = self.model, self.model.trunk.kind
        if not isinstance(self.diffusion.path, KarrasPath):
            return
        odd = [f"trunk={kind}"] if isinstance(model.trunk, UvitSizes) else []
        if kind == "transformer":
            odd += [f"output_skip={model.output_skip}"] if model.output_skip != "none" else []
            odd += [f"time_kind={model.time_kind}"] if model.time_kind != "raw" else []
        if odd:
            rule = "a `path` karras tells the logarithm of its noise, for which no U-ViT, output skip, time_kind=clock is made"
            raise ValueError(f"{rule}, got {', '.join(odd)}; leave that out, or try path: {{kind: flow}}")

    @must_hold
    def output_skip_needs_x_prediction(self) -> None:
        skip, prediction = self.model.output_skip, self.diffusion.prediction
        if skip != "none" and prediction != "x":
            rule = "`output_skip` pre-conditions an x-prediction"
            raise ValueError(f"{rule}, got output_skip={skip}, prediction={prediction}; try output_skip=none")

    @must_hold
    def averages_have_names_of_their_own(self) -> None:
        names, reserved = [average.name for average in self.ema], RESERVED | {own.name for own in self.own_averages}
        if reserved & set(names) or len(set(names)) < len(names):
            rule = f"`ema` must name each average once, and none of them {', '.join(sorted(reserved))}"
            raise ValueError(f"{rule}, got {', '.join(names)}")

    @must_hold
    def fused_attention_needs_bf16_on_a_gpu(self) -> None:
        if self.attention in ("cudnn", "flash", "triton") and (self.device, self.precision) != ("cuda", "bf16"):
            rule = f"`attention` {self.attention} needs a GPU and precision bf16"
            got = f"device={self.device}, precision={self.precision}"
            raise ValueError(f"{rule}, got {got}; try attention=sdpa or precision=bf16")

    @must_hold
    def triton_attention_has_narrow_heads_and_no_dropout(self) -> None:
        head_dim, dropout = self.model.attention_head, self.model.attention_dropout
        if self.attention == "triton" and (head_dim > TRITON_HEAD_DIM or dropout):
            rule = f"`attention` triton needs heads of at most {TRITON_HEAD_DIM} and no attn_dropout"
            raise ValueError(f"{rule}, got width/heads={head_dim}, attn_dropout={dropout}; try attention=sdpa")

    @must_hold
    def a_bf16_residual_needs_bf16(self) -> None:
        if self.residual == "bf16" and self.precision != "bf16":
            rule = "`residual` bf16 needs precision bf16"
            raise ValueError(f"{rule}, got precision={self.precision}; try residual=fp32 or precision=bf16")

    @must_hold
    def kernels_of_our_own_need_a_gpu(self) -> None:
        if self.kernels == "triton" and self.device != "cuda":
            raise ValueError(f"`kernels` other than torch needs a GPU, got device={self.device}; try kernels=torch")

    @must_hold
    def graphs_need_a_gpu(self) -> None:
        if self.graphs and self.device != "cuda":
            raise ValueError(f"`graphs` other than false needs a GPU, got device={self.device}; try graphs=false")

    @must_hold
    def kernels_of_our_own_are_not_compiled(self) -> None:
        if self.kernels == "triton" and self.compile:
            rule = "`kernels` triton runs without torch.compile, which cannot see into it"
            raise ValueError(f"{rule}, got compile={str(self.compile).lower()}; try compile=false, or kernels=torch")

    @must_hold
    def what_is_compiled_by_blocks_has_blocks(self) -> None:
        if self.compile == "blocks" and self.model.trunk.kind == "mlp":
            raise ValueError("`compile` blocks needs a trunk of blocks, got trunk=mlp; try compile=true")

    @must_hold
    def routed_tokens_turn_in_torch(self) -> None:
        if self.kernels == "triton" and self.model.routing.kind != "none":
            rule = "`kernels` triton turns the tokens of all images alike"
            raise ValueError(f"{rule}, got routing={self.model.routing.kind}; try kernels=torch, or routing=none")

    @must_hold
    def graphs_replay_adamw(self) -> None:
        if self.graphs and self.optimiser.method != "adamw":
            rule = "`graphs` replays the steps of AdamW alone"
            raise ValueError(f"{rule}, got method={self.optimiser.method}; try graphs=false, or method=adamw")

    @must_hold
    def cosine_ends_after_the_warmup(self) -> None:
        schedule, warmup = self.optimiser.schedule, self.optimiser.warmup_images
        if schedule.kind == "cosine" and isinstance(warmup, int) and (schedule.total_images or 0) <= warmup:
            rule = "`schedule.total_images` must be above warmup_images"
            got = f"total_images={schedule.total_images}, warmup_images={warmup}"
            raise ValueError(f"{rule}, got {got}; lower warmup_images, or train on more images")

    @property
    def id(self) -> str:
        """First 12 hex digits of the hash of everything that decides the numbers."""
        return content_hash({"maths_version": MATHS_VERSION, **identity(self)})


def id_by_seed(trial: TrialConfig) -> Callable[[int], str]:
    """The id of a trial with another seed; what does not depend on the seed is worked out once."""
    content = {"maths_version": MATHS_VERSION, **identity(trial)}
    return lambda seed: content_hash({**content, "seed": seed})
