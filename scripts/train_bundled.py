"""Trains a pair of networks for the package: python scripts/train_bundled.py small --photos DIR --held DIR.

Both stages in pieces of some minutes, each resumed where the last one ended, so that it may be stopped at any
time and called again. What comes out are OUT/psnr.safetensors and OUT/gan.safetensors in half precision.
Its steps are the library's own commands, which it prints.
"""

import argparse
import colorsys
import shlex
import subprocess
import sys
from pathlib import Path

from PIL import Image

from esrgan_lightning.weights import describe_file

COMMANDS = Path(sys.executable).parent
# Size → generator, updates of the PSNR stage, of the stage that ends it and of the GAN stage.
SIZES = {
    "small": (["generator=rrdb_bundled"], 150_000, 10_000, 30_000),
    "medium": (
        [
            "generator=rrdb",
            "generator.num_blocks=8",
            "generator.init_scope=dense",
            "generator.bilinear_init=true",
        ],
        300_000,
        20_000,
        60_000,
    ),
    "paper": (["generator=rrdb", "generator.init_scope=dense"], 500_000, 40_000, 200_000),
}
COMMON = (
    "preset=demo",
    "data=folder",
    "data.batch_size=8",
    "data.patch_size=96",
    "trainer.val_interval=2000",
    "trainer.checkpoint_interval=500",
    "trainer.log_interval=100",
)


def flat_pictures(folder: Path) -> Path:
    """37 pictures of one color: with them a network learns what lies beyond a border."""
    folder.mkdir(parents=True, exist_ok=True)
    colors = [(level,) * 3 for level in (0, 0, 16, 48, 80, 112, 128, 144, 176, 208, 240, 255, 255)]
    for step in range(24):
        color = (step / 24, 1, 1) if step % 2 == 0 else (step / 24, 0.5, 0.6)
        red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(*color))
        colors.append((red, green, blue))
    for number, color in enumerate(colors):
        Image.new("RGB", (128, 128), color).save(folder / f"{number:02d}.png")
    return folder


def call(*words: str) -> None:
    """Runs one of the library's commands."""
    print("$", shlex.join(words), flush=True)
    subprocess.run([str(COMMANDS / words[0]), *words[1:]], check=True)


def train(name: str, updates: int, minutes: float, *settings: str) -> Path:
    """A stage in pieces of so many minutes, until it has all its updates; its generator."""
    run_dir = Path("runs") / name
    model = run_dir / "generator.safetensors"
    while not (model.is_file() and (describe_file(model)["updates"] or 0) >= updates):
        resume = ["resume=last"] if any((run_dir / "checkpoints").glob("*.ckpt")) else []
        limits = [f"trainer.max_updates={updates}", f"trainer.max_time={minutes}"]
        call("esrgan-train", f"name={name}", *COMMON, *settings, *limits, *resume)
    return model


def main() -> None:
    """PSNR stage, its end in fp32 with the consistency loss, GAN stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("size", choices=SIZES)
    parser.add_argument("--photos", required=True, help="HR photos to train on; several folders with commas")
    parser.add_argument("--held", required=True, help="HR photos for validation")
    parser.add_argument("--out", type=Path, default=Path("runs/bundled"))
    parser.add_argument("--minutes", type=float, default=10, help="of a piece")
    parser.add_argument("--updates", type=int, help="of each stage, to try the way out")
    given, extra = parser.parse_known_args()

    generator, *lengths = SIZES[given.size]
    first, second, third = [given.updates] * 3 if given.updates else lengths
    photos = given.photos.split(",")
    flat = flat_pictures(given.out / "flat")
    shares = [*(0.96 / len(photos) for _ in photos), 0.04]
    data = [
        f"data.train_dir=[{','.join([*photos, str(flat)])}]",
        f"data.weights=[{','.join(map(str, shares))}]",
        f"data.val_dir={given.held}",
    ]
    psnr = ["stage=psnr", *generator, *data, "stage.ema_decay=0.999", "schedule.warmup=500", *extra]
    name = f"bundled_{given.size}"
    model = train(f"{name}_psnr", first, given.minutes, *psnr, "optimizer.lr=8e-4")
    end = ["optimizer.lr=2e-4", "trainer.precision=32", "loss/consistency=bicubic", f"init={model}"]
    model = train(f"{name}_psnr_end", second, given.minutes, *psnr, *end)
    half = given.out / "psnr.safetensors"
    call("esrgan", "convert", str(model), "-o", str(half), "--to", "safetensors", "--half")
    gan = [
        *("stage=gan", *generator, *data, f"init={half}", "stage.ema_decay=0.998", "schedule.warmup=100"),
        *("optimizer.lr=2e-4", "discriminator_optimizer.lr=1e-4", "discriminator.num_features=24"),
        *("loss.adversarial.label_smoothing=0.1", *extra),
    ]
    model = train(f"{name}_gan", third, given.minutes, *gan)
    call(
        "esrgan",
        "convert",
        str(model),
        "-o",
        str(given.out / "gan.safetensors"),
        "--to",
        "safetensors",
        "--half",
    )


if __name__ == "__main__":
    main()
