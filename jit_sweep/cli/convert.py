"""`import-jit`, `export-jit` and their like for the neighbours: models of official codes."""

from dataclasses import asdict
from pathlib import Path

from jit_sweep.cli.output import console, print_json, print_next
from jit_sweep.commands import SharedOptions, shell_path
from trainables.report import ExitCode


def import_checkpoint(checkpoint: Path, folder: Path, *, class_tokens_start: int | None, as_json: bool) -> int:
    """Write a checkpoint as a folder of ours."""
    from jit_sweep.models import official

    imported = official.import_checkpoint(checkpoint, folder, class_tokens_start=class_tokens_start)
    if as_json:
        print_json("import-jit", [asdict(imported)])
        return ExitCode.DONE
    lines = [f"{folder}: {imported.model or 'a JiT'} of {imported.parameters:,} parameters, from {checkpoint}"]
    lines += [f"  {name:22} {size:>15,} bytes" for name, size in imported.files.items()]
    lines += [f"not kept: {name} ({why})" for name, why in imported.left_out.items()]
    screen = console()
    screen.print("\n".join(lines), soft_wrap=True)
    print_next(screen, *folder_commands(folder, back="export-jit"))
    return ExitCode.DONE


def folder_commands(folder: Path, *, back: str) -> list[str]:
    """What can be done with a model's folder; one without a slash in its name would be taken for a registered model."""
    return [
        SharedOptions().command("sample", f"{shell_path(folder)}/", out="samples.png"),
        SharedOptions().command(back, folder, "back.pth"),
    ]


def export_checkpoint(folder: Path, checkpoint: Path, *, as_json: bool) -> int:
    """Write a folder of ours as a checkpoint."""
    from jit_sweep.models import official

    exported = official.export_checkpoint(folder, checkpoint)
    if as_json:
        print_json("export-jit", [asdict(exported)])
        return ExitCode.DONE
    names = ("model", "model_ema1", "model_ema2")
    lines = [f"{checkpoint}: {exported.bytes:,} bytes"]
    lines += [f"  {name:10} from {file}" for name, file in zip(names, exported.weights, strict=True)]
    flags = ("model", "img_size", "class_num", "noise_scale", "t_eps", "cfg", "interval_min", "interval_max")
    known = " ".join(f"--{name} {exported.args[name]}" for name in flags if name in exported.args)
    if "model" not in exported.args:
        lines += [
            "The official code has no name for a network of this size: its class must be built with the same sizes there."
        ]
    lines += [f"The official code takes its settings from its command line: {known}"]
    lines += ["and the folder of a file named checkpoint-last.pth as --resume."]
    if exported.lacking:
        lines += [f"Its sampler has no {', '.join(exported.lacking)}, by which this model was scored: it draws other samples."]
    console().print("\n".join(lines), soft_wrap=True)
    return ExitCode.DONE


def import_neighbour(
    checkpoint: Path, folder: Path, *, preset: str, size: int, channels: int, prefix: str, as_json: bool
) -> int:
    """Write a neighbour's checkpoint as a folder of ours."""
    from jit_sweep.models import neighbours

    moved = neighbours.import_neighbour(checkpoint, folder, preset=preset, image_size=size, channels=channels, prefix=prefix)
    if as_json:
        print_json("import-neighbour", [asdict(moved)])
        return ExitCode.DONE
    screen = console()
    screen.print(f"{folder}: {preset} of {moved.parameters:,} parameters, from {checkpoint}", soft_wrap=True)
    print_next(screen, *folder_commands(folder, back="export-neighbour"))
    return ExitCode.DONE


def export_diffusers(folder: Path, out: Path, *, as_json: bool) -> int:
    """Lay a model's folder out for diffusers."""
    from jit_sweep.models import diffusers_folder

    written = diffusers_folder.export_diffusers(folder, out)
    if as_json:
        print_json("export-diffusers", [{"file": str(out / file)} for file in written])
        return ExitCode.DONE
    console().print(f"{out}: {', '.join(written)}", soft_wrap=True)
    return ExitCode.DONE


def export_neighbour(folder: Path, checkpoint: Path, *, as_json: bool) -> int:
    """Write an imported neighbour's folder back."""
    from jit_sweep.models import neighbours

    moved = neighbours.export_neighbour(folder, checkpoint)
    if as_json:
        print_json("export-neighbour", [asdict(moved)])
        return ExitCode.DONE
    console().print(f"{checkpoint}: {moved.family} of {moved.parameters:,} parameters", soft_wrap=True)
    return ExitCode.DONE
