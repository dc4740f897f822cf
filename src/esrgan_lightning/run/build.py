"""What a configuration names, built: data, networks, losses and the stage around them."""

import hashlib
import inspect
import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

import pytorch_lightning as pl
from hydra.errors import InstantiationException
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue
from pytorch_lightning.callbacks import Callback
from torch.optim import Optimizer
from torchmetrics import Metric

from esrgan_lightning.config import chosen_metrics
from esrgan_lightning.data import Photo, SRDataModule
from esrgan_lightning.errors import InputError
from esrgan_lightning.losses import WeightedLoss
from esrgan_lightning.metrics.measures import METRICS, ValidationMetric, check_size
from esrgan_lightning.stages.base import Stage, check_conditions

_OTHER_OPTIMIZER = (
    "; optimizer=adam, adamw or sgd chooses a class with its settings, and optimizer=custom "
    "optimizer._target_=… +optimizer.KEY=… one of your own"
)


def build(node: Any, key: str, **extra: Any) -> Any:
    """Instantiates ``node``; what the user got wrong comes through as one :class:`InputError`."""
    try:
        return instantiate(node, **extra)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, InputError):
            # A loss speaks of its own arguments, as `weights=PATH`; data and networks name the whole key.
            raise InputError(f"{key}: {cause}" if key.startswith("loss.") else str(cause)) from error
        if isinstance(cause, ImportError):
            reason = " ".join(str(cause).split())
            raise InputError(
                f"{key}._target_ cannot be had: {reason}; a module of your own lies in the folder that you "
                "call from, or is installed"
            ) from error
        if isinstance(cause, TypeError):  # a key that there is not, or a value of another type
            raise InputError(f"{key}: {cause}") from error
        raise cause or error from None  # a bug in it: Hydra would tell it in one line, without the place
    except MissingMandatoryValue as error:
        raise InputError(f"{error.full_key or key} has no value: give it on the command line") from None


def build_data(cfg: DictConfig) -> pl.LightningDataModule:
    """The data that ``cfg.data`` names: ours, or any LightningDataModule.

    Raises:
        InputError: they are no LightningDataModule, wrong in themselves, or too small
            for a metric of the validation.
    """
    target = str(cfg.data.get("_target_"))
    ours = target.startswith("esrgan_lightning.data.")
    channels = None if is_material(cfg) else _channels(cfg)
    told = channels and ours and "channels" not in cfg.data
    data: pl.LightningDataModule = build(cfg.data, "data", **({"channels": channels} if told else {}))
    if not isinstance(data, pl.LightningDataModule):
        raise InputError(
            f"data._target_={target} makes a {type(data).__name__}: expected a LightningDataModule"
        )
    if isinstance(data, SRDataModule) and channels not in (None, data.channels):
        raise InputError(
            f"data.channels={data.channels}, and generator.in_channels={channels}: give the same"
        )
    if isinstance(data, SRDataModule) and "metrics" in cfg:
        _check_sizes(cfg, data)
    return data


def _channels(cfg: DictConfig) -> int:
    """Of the pictures that the generator takes, and makes."""
    taken = cfg.generator.get("in_channels", 3)
    made = cfg.generator.get("out_channels", taken)
    if taken not in (1, 3) or made != taken:
        raise InputError(
            f"generator.in_channels={taken} generator.out_channels={made}: photos have 3 channels (RGB), or "
            "1 as gray: give generator.in_channels=3 or 1, and leave out_channels, which follows"
        )
    return int(taken)


def _check_sizes(cfg: DictConfig, data: SRDataModule) -> None:
    crops = {
        name: crop
        for name, settings in chosen_metrics(cfg.metrics).items()
        if name in METRICS and "_target_" not in settings
        if isinstance(crop := settings.get("crop", cfg.scale), int)
    }
    for photo in data.val_set.photos:  # cut to the scale before they are measured
        name = photo.hr if isinstance(photo, Photo) else f"{photo.name} of {photo.pack.path}"
        height, width = (side // cfg.scale * cfg.scale for side in (photo.height, photo.width))
        check_size(name, (height, width), crops)


def data_hash(cfg: DictConfig, data: pl.LightningDataModule) -> str:
    """What the training data are: their ``index_hash()``, and where they have none, their settings."""
    if (own := getattr(data, "index_hash", None)) is not None:
        return str(own())
    return hashlib.sha256(json.dumps(plain(cfg.data), sort_keys=True).encode()).hexdigest()


def is_material(cfg: DictConfig) -> bool:
    """Whether the stage trains a classifier."""
    return bool(cfg.stage.name == "material")


def build_stage(cfg: DictConfig, classes: Sequence[str] = ()) -> Stage:
    """The stage that ``cfg.stage`` names, with its networks, losses, optimisers and schedules.

    ``classes`` are what the classifier of ``stage=material`` tells apart.

    Raises:
        InputError: a part cannot be built, or the parts do not go together.
    """
    if is_material(cfg):
        network = build(cfg.network, "network", num_classes=len(classes))
        parts = {"network": network, "classes": classes}
    else:
        generator = build(cfg.generator, "generator")
        check_conditions(generator, given=cfg.conditions is not None)
        parts = {
            "generator": generator,
            "losses": build_losses(cfg.loss, adversarial="discriminator" in cfg),
            "metrics": build_metrics(cfg),
        }
    if "discriminator" in cfg:
        parts["adversarial"] = build(cfg.loss.adversarial, "loss.adversarial")
        parts["discriminator"] = build(cfg.discriminator, "discriminator")
        parts["discriminator_optimizer"] = build(discriminator_optimizer(cfg), "discriminator_optimizer")
        parts["discriminator_schedule"] = build(cfg.discriminator_schedule, "discriminator_schedule")
    parts["optimizer"] = build_target(cfg.get("optimizer"), "optimizer", "optimizer=adam")
    parts["schedule"] = build(cfg.schedule, "schedule")
    settings = plain(cfg.stage)
    del settings["name"]
    # Called directly: Hydra's instantiate would turn the dictionaries among the parts into its own kind.
    make = get_class(settings.pop("_target_"))
    try:
        stage: Stage = make(**parts, **settings)
        # The trainer makes its own; this tells a wrong rate or a wrong key before anything starts.
        optimizers = cast(tuple[list[Optimizer], Any], stage.configure_optimizers())[0]
    except InputError:
        raise
    except (TypeError, ValueError, IndexError) as error:  # the last of too short a list
        hint = "" if "unexpected keyword" not in str(error) else _OTHER_OPTIMIZER
        raise InputError(f"stage, optimizer or schedule: {error}{hint}") from error
    for each in optimizers:
        closure = inspect.signature(type(each).step).parameters.get("closure")
        if closure is not None and closure.default is inspect.Parameter.empty:
            raise InputError(
                f"optimizer._target_: {type(each).__name__} computes the loss several times in a step, which "
                "no stage offers: choose optimizer=adam, adamw or sgd"
            )
    return stage


def discriminator_optimizer(cfg: DictConfig) -> DictConfig:
    """Its settings: where it is of the generator's class, those that it lacks are the generator's."""
    own = cfg.discriminator_optimizer
    if own._target_ != cfg.optimizer._target_:
        return cast(DictConfig, own)
    return OmegaConf.create(plain(cfg.optimizer) | plain(own))


def build_metrics(cfg: DictConfig) -> dict[str, Metric]:
    """The metrics of the validation: those of :data:`METRICS` by name, others by their ``_target_``."""
    metrics: dict[str, Metric] = {}
    for name, settings in chosen_metrics(cfg.metrics).items():
        if "_target_" in settings:
            metrics[name] = build(settings, f"metrics: {name}")
            if not isinstance(metrics[name], Metric):
                kind = type(metrics[name]).__name__
                raise InputError(
                    f"metrics: {name}: {settings['_target_']} makes a {kind}: expected a torchmetrics.Metric"
                )
            continue
        if unknown := sorted(set(settings) - {"crop", "weights"}):
            raise InputError(f"metrics: {name} has no setting {unknown[0]}: there are crop and weights")
        metrics[name] = ValidationMetric(name, **{"crop": cfg.scale, **settings})
    return metrics


def build_callbacks(cfg: DictConfig, metrics: Mapping[str, Metric]) -> list[Callback]:
    """The callbacks that ``cfg.callbacks`` names.

    One that monitors ``val/NAME`` is told which way is better, unless its ``mode`` is given: Lightning's own
    default takes every figure for an error.
    """
    callbacks = []
    for name, node in cfg.callbacks.items():
        key, extra = f"callbacks.{name}", {}
        monitor = str(node.get("monitor")) if isinstance(node, DictConfig) else ""
        if monitor.startswith("val/"):
            known = {f"val/{metric}": each.higher_is_better for metric, each in metrics.items()}
            if monitor not in known:
                raise InputError(f"{key}.monitor={monitor} is none of the metrics: {', '.join(known)}")
            if "mode" not in node and known[monitor] is not None:
                extra["mode"] = "max" if known[monitor] else "min"
        made = build_target(node, key, f"+{key}._target_=pytorch_lightning.callbacks.EarlyStopping", **extra)
        if not isinstance(made, Callback):
            raise InputError(f"{key}._target_={node._target_}: expected a Callback of Lightning's")
        callbacks.append(made)
    return callbacks


def build_target(node: Any, key: str, example: str, **extra: Any) -> Any:
    """:func:`build` of a part that a user has named; one without a class would have no effect."""
    if not isinstance(node, DictConfig) or not node.get("_target_"):
        raise InputError(f"{key} has no _target_: {example}")
    return build(node, key, **extra)


def build_losses(cfg: DictConfig, *, adversarial: bool) -> WeightedLoss:
    """The terms that ``loss.weights`` names. A term of weight 0 is not built: it may need a download."""
    nodes = {str(name): node for name, node in cfg.items() if name != "weights"}
    for name, node in nodes.items():
        if not isinstance(node, DictConfig) or not node.get("_target_"):
            raise InputError(
                f"loss.{name} has no _target_: choose the term with loss/{name}=…, or leave it out"
            )
    if set(nodes) != set(cfg.weights):
        raise InputError(
            f"loss.weights names {', '.join(cfg.weights)}, but loss has the terms {', '.join(nodes)}: each "
            "term needs a weight, and each weight a term"
        )
    weights = {name: float(cfg.weights[name]) for name in nodes if cfg.weights[name]}
    given = [name for name in weights if name == "adversarial"]  # comes from the stage
    if given and not adversarial:
        raise InputError("loss.weights.adversarial needs a discriminator: stage=gan has one")
    terms = {name: build(nodes[name], f"loss.{name}") for name in weights if name not in given}
    return WeightedLoss(terms, weights, given=given)


def plain(node: DictConfig) -> dict[str, Any]:
    """The node's values, interpolations resolved."""
    return cast(dict[str, Any], OmegaConf.to_container(node, resolve=True))
