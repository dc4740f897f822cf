"""The smallest run of each stage: seconds on one core, nothing to download."""

PSNR = (
    "generator.num_features=8",
    "generator.num_blocks=1",
    "generator.growth_channels=4",
    "data.patch_size=32",
    "data.batch_size=2",
    "data.num_workers=0",
    "trainer.accelerator=cpu",
    "trainer.max_updates=2",
    "trainer.log_interval=1",
)
GAN = (*PSNR, "loss.weights.perceptual=0", "discriminator.num_features=8")
MATERIAL = (
    "network.arch=vgg16",
    "network.head=light",
    "data.image_size=32",
    "data.batch_size=2",
    "data.num_workers=0",
    "trainer.accelerator=cpu",
    "trainer.max_updates=2",
    "schedule.updates=3",
    "trainer.log_interval=1",
    "init=null",
)

# Settings of RRDB that another generator lacks.
_LACKS = {
    "generator=srresnet": ("generator.growth_channels",),
    "generator=sft": ("generator.growth_channels",),
    "generator=srcnn": ("generator.growth_channels", "generator.num_blocks"),
    # It starts from the bundled weights, which have their sizes.
    "generator=rrdb_bundled": (
        "generator.num_features",
        "generator.num_blocks",
        "generator.growth_channels",
    ),
    "generator=enlarger": ("generator.growth_channels", "generator.num_blocks"),  # docs/your_parts.md
}


def fitting(sizes, overrides):
    """The sizes that the generator among the overrides knows."""
    chosen = [word.removesuffix("_bn") for word in overrides if word.startswith("generator=")]
    lacks = _LACKS.get(chosen[-1], ()) if chosen else ()
    return [size for size in sizes if size.split("=")[0] not in lacks]
