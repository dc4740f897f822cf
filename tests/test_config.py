"""The configuration: every choice composes and builds, and the presets hold the figures of their sources."""

import itertools
from pathlib import Path

import pytest
import tiny
import torch
from hydra import compose as hydra_compose
from hydra import initialize_config_module
from hydra.errors import ConfigCompositionException
from hydra.types import RunMode
from omegaconf import OmegaConf
from torch import nn

from esrgan_lightning.config import compose
from esrgan_lightning.errors import InputError
from esrgan_lightning.run.build import build, build_losses, build_stage
from esrgan_lightning.stages import GANStage, PSNRStage

CONF = Path(__file__).resolve().parents[1] / "conf"
SMALL = ("generator.num_features=4", "generator.num_blocks=1")
TINY = {"stage=psnr": SMALL, "stage=gan": (*SMALL, "init=null", "discriminator.num_features=4")}


def choices(group):
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def stage_of(*overrides):
    cfg = compose(*overrides)
    return build_stage(cfg)


PRESETS = ("paper", "basicsr", "demo", "mini")


def test_a_preset_has_a_file_for_each_stage():
    assert choices("preset/psnr") == choices("preset/gan") == sorted(PRESETS)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("stage", ["psnr", "gan"])
def test_every_preset_of_every_stage_builds(preset, stage):
    """Breaks if a preset names a key that does not exist, or that its class does not take."""
    cfg = compose(f"stage={stage}", f"preset={preset}", "loss/perceptual=none", *TINY[f"stage={stage}"])
    built = build_stage(cfg)
    assert isinstance(built, GANStage if stage == "gan" else PSNRStage)
    assert cfg.preset == preset
    assert cfg.stage.name == stage
    for optimizer in built.configure_optimizers()[0]:
        assert isinstance(optimizer, torch.optim.Adam)


GROUPS = ("optimizer", "generator", "discriminator", "loss/pixel", "loss/adversarial", "schedule")


@pytest.mark.parametrize(
    "choice", [f"{group}={name}" for group in GROUPS for name in choices(group) if name != "custom"]
)
def test_every_choice_builds(choice):
    """Breaks if a file of the configuration has gone stale against its class."""
    # A gradient penalty refuses batch norm, and the U-Net has no such key.
    plain = () if choice.startswith("discriminator") else ("discriminator.norm=none",)
    maps = ("conditions=torchvision",) if choice == "generator=sft" else ()
    for stage, more in (("stage=gan", ("loss/perceptual=none", *plain)), ("stage=psnr", ())):
        if stage == "stage=gan" or not choice.startswith(("discriminator", "loss/adversarial")):
            stage_of(stage, choice, *maps, *more, *tiny.fitting(TINY[stage], [choice]))


@pytest.mark.parametrize(
    "choice", [*(f"trainer={name}" for name in choices("trainer")), *(f"preset={name}" for name in PRESETS)]
)
def test_every_trainer_has_every_key(choice):
    """Breaks if trainer=… forgets the preset's length or a key that another trainer has."""
    cfg = compose(choice)
    assert cfg.trainer.keys() == compose().trainer.keys()
    assert not OmegaConf.missing_keys(cfg)


@pytest.mark.parametrize("data", ["materials", "minc"])
def test_the_material_stage_has_what_it_uses_and_nothing_else(data):
    """Breaks if a generator, a loss or a preset stands in its configuration, where it would be ignored."""
    cfg = compose("stage=material", f"data={data}", "data.root=DIR", "trainer=ddp", "schedule=milestones")
    assert set(cfg) == {
        "name", "seed", "init", "init_from", "resume", "overwrite", "data", "network", "stage",
        "optimizer", "schedule", "trainer", "logger", "callbacks", "objective",
    }  # fmt: skip
    assert cfg.trainer.keys() == compose().trainer.keys()
    assert not OmegaConf.missing_keys(cfg)
    with pytest.raises(ConfigCompositionException, match="Could not override"):
        compose("stage=material", "generator=rrdb")


GROUPS_OF_EXPERIMENTS = ("experiment", "experiment/ladder", "experiment/ladder_mini")
EXPERIMENTS = [f"{group}={name}" for group in GROUPS_OF_EXPERIMENTS for name in choices(group)]


@pytest.mark.parametrize("choice", EXPERIMENTS)
def test_every_experiment_builds(choice):
    """Breaks if an experiment names a choice or a key that does not exist."""
    cfg = compose(choice)
    unseen = ["loss.weights.perceptual=0"] if "perceptual" in cfg.loss else []  # its network is a download
    stage = stage_of(choice, *unseen, "generator.num_features=4")
    assert isinstance(stage, GANStage if "discriminator" in cfg else PSNRStage)
    assert "discriminator" not in cfg or cfg.init == "auto"
    assert cfg.preset == ("mini" if "mini" in choice else "paper")


def changes(one, other, prefix=""):
    """Dotted keys whose values differ, the groups that were exchanged by their own name alone."""
    for key in one | other:
        mine, theirs = one.get(key), other.get(key)
        if (
            isinstance(mine, dict)
            and isinstance(theirs, dict)
            and mine.get("_target_") == theirs.get("_target_")
        ):
            yield from changes(mine, theirs, f"{prefix}{key}.")
        elif mine != theirs:
            yield f"{prefix}{key}"


# The paper's ablation, column by column; the step with 16 blocks between is our own.
STEPS = [
    ["generator.batch_norm"],
    ["loss.perceptual.layers"],
    ["loss.adversarial"],
    ["generator"],
    ["generator.num_blocks"],
    ["data.names", "data.skip_small"],
]
STEPS_MINI = [STEPS[0], ["loss.perceptual.activated"], *STEPS[2:5], ["data.train_count"]]


@pytest.mark.parametrize(("group", "steps"), [("ladder", STEPS), ("ladder_mini", STEPS_MINI)])
def test_a_step_of_the_ladder_changes_one_thing(group, steps):
    """Breaks if a step mixes two changes, or the steps lie in another order than the paper's."""
    ladder = [
        OmegaConf.to_container(compose(f"experiment/{group}={name}", "name=x", "scale=4"), resolve=True)
        for name in choices(f"experiment/{group}")
    ]
    assert [sorted(changes(one, other)) for one, other in itertools.pairwise(ladder)] == steps
    assert ladder[0]["loss"]["adversarial"]["_target_"].endswith("StandardGAN")


@pytest.mark.parametrize(
    ("name", "jobs"),
    [
        ("patch_size", 5), ("patch_size_mini", 3), ("loss_weights", 9), ("loss_weights_mini", 4),
        ("backbones", 5), ("backbones_mini", 3),
    ],
)  # fmt: skip
def test_an_experiment_that_is_a_sweep(name, jobs):
    """Breaks if experiment=… alone does not run its sweep, or a value of it has a typing error."""
    with initialize_config_module("esrgan_lightning.conf", version_base="1.3"):
        cfg = hydra_compose("train", [f"experiment={name}"], return_hydra_config=True)
    assert cfg.hydra.mode == RunMode.MULTIRUN
    grid = [
        [f"{key}={value}" for value in values.split(",")] for key, values in cfg.hydra.sweeper.params.items()
    ]
    overrides = list(itertools.product(*grid))
    assert len(overrides) == jobs
    for each in overrides:
        compose(f"experiment={name}", *each)


# What each source says, by the key that states it. Source: the paper, and the best-known toolbox.
COMMON = {
    "generator._target_": "esrgan_lightning.networks.RRDBNet",
    "generator.num_features": 64,
    "generator.num_blocks": 23,
    "generator.growth_channels": 32,
    "generator.residual_scaling": 0.2,
    "generator.init_scale": 0.1,
    "scale": 4,
    "data.patch_size": 128,
    "data.batch_size": 16,
    "data.flips": True,
    "data.rotations": True,
    "optimizer._target_": "torch.optim.Adam",
    "loss.pixel._target_": "torch.nn.L1Loss",
    "stage.accumulate": 1,
    "stage.clip_norm": None,
}
PSNR = {"optimizer.lr": 2e-4, "loss.weights": {"pixel": 1.0}, "trainer.max_updates": 1_000_000}
GAN = {
    "optimizer.lr": 1e-4,
    "discriminator_optimizer._target_": "torch.optim.Adam",
    "discriminator_optimizer.lr": 1e-4,
    "loss.weights": {"pixel": 1e-2, "perceptual": 1.0, "adversarial": 5e-3},
    "loss.perceptual.arch": "vgg19",
    "loss.perceptual.layers": ["conv5_4"],  # before activation
    "loss.perceptual.criterion": "l1",
    "loss.perceptual.relative": False,
    "loss.adversarial._target_": "esrgan_lightning.losses.RelativisticAverageGAN",
    "discriminator._target_": "esrgan_lightning.networks.VGGDiscriminator",
    "discriminator.num_features": 64,
    "discriminator.patch_size": 128,
    "discriminator.norm": "batch",
    "stage.discriminator_steps": 1,
    "trainer.max_updates": 400_000,
}
SOURCES = {
    ("paper", "psnr"): {
        "optimizer.betas": [0.9, 0.999],
        "stage.ema_decay": None,
        "generator.init_scope": "all",
        "trainer.monitor": "psnr_y",
    },
    ("paper", "gan"): {
        "optimizer.betas": [0.9, 0.999],
        "stage.order": "discriminator_first",
        "stage.ema_decay": None,
        "generator.init_scope": "all",
        "loss.adversarial.halved": False,
        "loss.adversarial.detach_mean_in_discriminator": False,
        "trainer.monitor": "psnr_y",
    },
    ("basicsr", "psnr"): {
        "optimizer.betas": [0.9, 0.99],
        "stage.ema_decay": 0.999,
        "generator.init_scope": "dense",
        "trainer.monitor": "psnr_rgb",
    },
    ("basicsr", "gan"): {
        "optimizer.betas": [0.9, 0.99],
        "stage.ema_decay": 0.999,
        "stage.order": "generator_first",
        "generator.init_scope": "dense",
        "loss.adversarial.halved": True,
        "loss.adversarial.detach_mean_in_discriminator": True,
        "trainer.monitor": "psnr_rgb",
    },
}


@pytest.mark.parametrize(("preset", "stage"), SOURCES, ids="-".join)
def test_presets_state_the_figures_of_their_sources(preset, stage):
    """Breaks if a default elsewhere changes what `preset=paper` or `preset=basicsr` trains."""
    cfg = compose(f"preset={preset}", f"stage={stage}")
    for key, expected in (COMMON | (PSNR if stage == "psnr" else GAN) | SOURCES[preset, stage]).items():
        assert OmegaConf.select(cfg, key) == expected, key


# What a choice is named after, or what README says of it.
CHOICES = {
    # SRGAN §2.2.1: mean squared distance of VGG19's φ5,4 after activation
    "loss/perceptual=vgg19_srgan": {
        "loss.perceptual.criterion": "mse",
        "loss.perceptual.layers": ["relu5_4"],
    },
    "loss/adversarial=wasserstein_gp": {"loss.adversarial.penalty.weight": 10},  # WGAN-GP, algorithm 1
    "loss/adversarial=standard_r1": {"loss.adversarial.penalty.weight": 5},  # γ/2; Mescheder et al.: γ = 10
    "generator=rrdb_small": {
        "generator.num_features": 32,
        "generator.num_blocks": 2,
        "generator.residual_scaling": 1,
        "generator.init_scope": "dense",
        "generator.bilinear_init": True,
    },
    "preset=demo": {
        "stage.ema_decay": 0.97,
        "stage.order": "generator_first",
        "loss.weights.consistency": 10,
        "trainer.monitor": "psnr_y",
    },
    "degradation=jpeg": {"degradation.quality": [30, 95]},
    "degradation=bicubic_noise": {"degradation.sigma": [0, 25], "degradation.gray_prob": 0.4},
}


@pytest.mark.parametrize("choice", CHOICES)
def test_choices_state_the_figures_of_their_sources(choice):
    cfg = compose("stage=gan", "init=null", choice)
    for key, expected in CHOICES[choice].items():
        assert OmegaConf.select(cfg, key) == expected, key
    assert compose("stage=psnr", "preset=demo").stage.ema_decay is None  # README: in the GAN stage only


@pytest.mark.parametrize(
    ("preset", "stage", "expected"),
    [
        ("paper", "psnr", {0: 1, 199_999: 1, 200_000: 1 / 2, 400_000: 1 / 4, 999_999: 1 / 16}),
        ("paper", "gan", {0: 1, 49_999: 1, 50_000: 1 / 2, 100_000: 1 / 4, 200_000: 1 / 8, 399_999: 1 / 16}),
        ("basicsr", "gan", {0: 1, 50_000: 1 / 2, 100_000: 1 / 4, 200_000: 1 / 8, 300_000: 1 / 16}),
        # halfway down each of four cosines; the floor is 1e-7
        ("basicsr", "psnr", {0: 1, 125_000: 0.50025, 250_000: 1, 875_000: 0.50025, 999_999: 5e-4}),
    ],
)
def test_learning_rates_at_the_published_updates(preset, stage, expected):
    """Breaks if a milestone or a period is not where the source has it."""
    cfg = compose(f"preset={preset}", f"stage={stage}")
    nodes = ["schedule", "discriminator_schedule"] if stage == "gan" else ["schedule"]
    for node in nodes:
        optimizer = build(cfg.optimizer, "optimizer")([nn.Parameter(torch.zeros(1))])
        (factor,) = build(cfg[node], node)(optimizer).lr_lambdas
        for update, share in expected.items():
            assert factor(update) == pytest.approx(share, rel=1e-6), update


def test_precedence_is_stage_preset_experiment_command_line(tmp_path):
    """Breaks if the order of the defaults list changes."""
    file = tmp_path / "experiment" / "mine.yaml"
    file.parent.mkdir()
    file.write_text(
        "# @package _global_\nstage: {ema_decay: 0.5}\ntrainer: {max_updates: 7, log_interval: 3}\n"
    )
    mine = (f"hydra.searchpath=[file://{tmp_path}]", "experiment=mine")
    assert compose("preset=basicsr").stage.ema_decay == 0.999  # the stage says null
    cfg = compose("preset=basicsr", *mine, "trainer.log_interval=2")
    assert cfg.stage.ema_decay == 0.5
    assert (cfg.trainer.max_updates, cfg.trainer.log_interval) == (7, 2)
    assert cfg.optimizer.betas == [0.9, 0.99]


def test_the_gan_stage_insists_on_an_init_and_the_psnr_stage_does_not():
    """Breaks if a `null` elsewhere in the defaults list hides the question mark."""
    assert OmegaConf.is_missing(compose("stage=gan"), "init")
    assert compose("stage=gan", "init=null").init is None
    assert compose("stage=psnr").init is None


def test_lambda_and_eta_reach_the_loss():
    """Breaks if the keys of the README no longer are the weights of the total."""
    cfg = compose(
        "stage=gan", "loss/perceptual=none", "loss.weights.adversarial=0.25", "loss.weights.pixel=0.5"
    )
    sr, hr = torch.full((1, 3, 4, 4), 0.75), torch.full((1, 3, 4, 4), 0.25)
    total, terms = build_losses(cfg.loss, adversarial=True)(sr, hr, adversarial=torch.tensor(2.0))
    assert total.item() == pytest.approx(0.5 * 0.5 + 0.25 * 2.0)
    assert set(terms) == {"pixel", "adversarial"}  # perceptual=none takes its weight out with it


def test_a_perceptual_weight_of_zero_builds_no_backbone(monkeypatch):
    """Breaks if a run without the term still needs its download."""
    import esrgan_lightning.losses.imagenet as imagenet

    def refuse(*_, **__):
        raise AssertionError("a backbone was built")

    monkeypatch.setattr(imagenet, "VGGFeatures", refuse)
    weights = build_losses(compose("stage=gan", "loss.weights.perceptual=0").loss, adversarial=True).weights
    assert set(weights) == {"pixel", "adversarial"}
    assert build_losses(compose("stage=psnr").loss, adversarial=False).weights == {"pixel": 1.0}


def test_perceptual_weights_from_a_file(vgg16_file):
    """Breaks if `loss.perceptual.weights=FILE` is not what the backbone is filled with."""
    given = (f"loss.perceptual.weights='{vgg16_file}'", "loss.weights.pixel=0", "loss.weights.adversarial=0")
    total = build_losses(compose("stage=gan", "loss/perceptual=vgg16", *given).loss, adversarial=True)
    from esrgan_lightning.losses import PerceptualLoss
    from esrgan_lightning.networks.backbones import VGGFeatures

    sr, hr = torch.rand(2, 1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    direct = PerceptualLoss(VGGFeatures("vgg16", ["conv5_3"], weights=vgg16_file))(sr, hr)
    assert total(sr, hr)[0].item() == pytest.approx(direct.item())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("+loss.style._target_=torch.nn.L1Loss", "each term needs a weight"),
        ("+loss.weights.style=1", "each weight a term"),
        ("+loss.style.eps=1", "loss.style has no _target_"),
        ("+loss.style=1", "loss.style has no _target_"),
    ],
)
def test_a_term_without_weight_and_a_weight_without_term_are_named(given, message):
    """Breaks if a new term of an experiment silently weighs nothing."""
    with pytest.raises(InputError, match=message) as error:
        build_losses(compose("stage=gan", given).loss, adversarial=True)
    assert "style" in str(error.value)


TERMS = {"perceptual": 1.0, "contextual": 0.1, "lpips": 1.0, "dists": 1.0, "consistency": 1.0}


@pytest.mark.parametrize("stage", ["psnr", "gan"])
def test_a_term_comes_and_goes_with_its_weight(stage):
    """Breaks if a term that is off shows a weight, or a chosen one weighs nothing."""
    given = (f"stage={stage}", "preset=demo", "init=null", *(f"loss/{term}=none" for term in TERMS))
    always = {"pixel", "adversarial"} if stage == "gan" else {"pixel"}
    off = compose(*given).loss
    assert (set(off), set(off.weights)) == (always | {"weights"}, always)
    for term, weight in TERMS.items():
        for choice in set(choices(f"loss/{term}")) - {"none", "bicubic_strong"}:
            on = compose(*given, f"loss/{term}={choice}").loss
            assert on[term]._target_
            assert set(on.weights) == always | {term}
            assert on.weights[term] == weight
    assert compose(*given, "loss/lpips=alex", "loss.weights.lpips=3").loss.weights.lpips == 3


def test_a_preset_of_ones_own_is_a_file_for_each_stage(tmp_path):
    """Breaks if a preset in a folder of a user's needs more than what it changes."""
    (tmp_path / "preset/gan").mkdir(parents=True)
    (tmp_path / "preset/gan/mine.yaml").write_text(
        "# @package _global_\ndefaults: [demo, _self_]\npreset: mine\noptimizer: {lr: 3e-3}\n"
    )
    given = ("stage=gan", "init=null", "preset=mine", f"hydra.searchpath=[file://{tmp_path}]")
    cfg = compose(*given, "generator=srresnet", "schedule=constant", "loss/consistency=none")
    assert (cfg.preset, cfg.optimizer.lr, cfg.discriminator.num_features) == ("mine", 3e-3, 16)
    assert "SRResNet" in cfg.generator._target_
    assert cfg.schedule == {**compose("schedule=constant").schedule}
    assert set(cfg.loss.weights) == {"pixel", "perceptual", "adversarial"}


def test_a_term_of_ones_own_is_a_target_and_a_weight():
    """Breaks if a user has to change the library to add a loss."""
    own = ("+loss.square._target_=torch.nn.MSELoss", "+loss.weights.square=2", "loss.weights.pixel=0")
    total, _ = build_losses(compose(*own).loss, adversarial=False)(
        torch.ones(1, 3, 2, 2), torch.zeros(1, 3, 2, 2)
    )
    assert total.item() == 2.0


@pytest.mark.parametrize(
    ("given", "ours", "theirs"),
    [
        (["optimizer.lr=0.5"], ("Adam", 0.5, (0.9, 0.999)), ("Adam", 0.5, (0.9, 0.999))),
        (["preset=basicsr"], ("Adam", 1e-4, (0.9, 0.99)), ("Adam", 1e-4, (0.9, 0.99))),
        (["optimizer=adamw", "discriminator_optimizer.lr=0.25", "+discriminator_optimizer.betas=[0.5,0.9]"],
         ("AdamW", 1e-4, (0.9, 0.999)), ("AdamW", 0.25, (0.5, 0.9))),
        (["preset=basicsr", "optimizer=sgd", "optimizer.momentum=0"], ("SGD", 1e-4, 0), ("SGD", 1e-4, 0)),
        (["optimizer@discriminator_optimizer=sgd"], ("Adam", 1e-4, (0.9, 0.999)), ("SGD", 1e-2, 0.9)),
        (["optimizer=custom", "optimizer._target_=torch.optim.RMSprop", "+optimizer.momentum=0.3"],
         ("RMSprop", 1e-4, 0.3), ("RMSprop", 1e-4, 0.3)),
    ],
)  # fmt: skip
def test_an_optimiser_is_one_choice_and_the_discriminators_follows_or_is_set_apart(given, ours, theirs):
    """Breaks if another class meets Adam's settings, or the discriminator's follows no more."""
    built = stage_of("stage=gan", "loss/perceptual=none", *TINY["stage=gan"], *given)
    for optimizer, (kind, lr, second) in zip(built.configure_optimizers()[0], (ours, theirs), strict=True):
        values = optimizer.defaults
        assert (type(optimizer).__name__, values["lr"]) == (kind, lr)
        assert values.get("betas", values.get("momentum")) == second


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["optimizer._target_=torch.optim.SGD"], "betas'; optimizer=adam, adamw or sgd chooses"),
        (["optimizer=custom", "optimizer._target_=torch.optim.LBFGS"], "LBFGS computes the loss several"),
        (["optimizer=custom"], "optimizer has no _target_|optimizer._target_ has no value"),
    ],
)
def test_an_optimiser_that_cannot_be_is_told_before_the_work(given, said):
    """Breaks if a class is met by settings that it lacks, or fails at the first update."""
    with pytest.raises(InputError, match=said):
        stage_of("stage=psnr", *TINY["stage=psnr"], *given)
