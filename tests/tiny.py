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
