"""Where a run's network starts from: ``init=`` a file, whole or in part, or a PSNR model trained for it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from filelock import FileLock, Timeout
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.utilities import rank_zero_only
from pytorch_lightning.utilities.seed import isolate_rng
from torch import Tensor, nn

from esrgan_lightning.config import compose
from esrgan_lightning.errors import InputError
from esrgan_lightning.networks import network_spec
from esrgan_lightning.networks.classifier import VGGClassifier, load_pretrained
from esrgan_lightning.run.build import plain
from esrgan_lightning.run.folder import read_outcome
from esrgan_lightning.run.processes import launched_processes
from esrgan_lightning.run.progress import announce
from esrgan_lightning.run.resume import immutable_settings, read_checkpoint
from esrgan_lightning.run.settings import TrainerSettings
from esrgan_lightning.stages.base import Stage
from esrgan_lightning.weights import load_state, read_generator_file, warm_start
from esrgan_lightning.weights.checkpoint import resolve_spec
from esrgan_lightning.weights.files import read_contents
from esrgan_lightning.weights.layouts import likely_scale
from esrgan_lightning.weights.provenance import json_hash
from esrgan_lightning.weights.state import differences, state_hash

AUTO = "auto"
IMAGENET = "imagenet"
FOLDER = Path("runs/init")
# What both stages have in common, and what belongs to the machine.
_SHARED = ("generator", "data", "degradation", "conditions", "scale", "seed")
_MACHINE = (
    *("accelerator", "devices", "num_nodes", "strategy", "sync_batchnorm", "precision", "channels_last"),
    *("compile", "cast_features", "deterministic"),
)


def psnr_config(cfg: DictConfig) -> DictConfig:
    """The PSNR stage that belongs to a GAN job: the preset's, with the job's own of all that both share.

    Raises:
        InputError: one of ``init_settings``, which come last, does not exist, or both stages must share it.
    """
    psnr = compose("stage=psnr", f"preset={cfg.preset}", *_search_path())
    job = plain(cfg)
    settings: dict[str, Any] = job["init_settings"]
    if common := [key for key in _SHARED if key in settings and key != "data"]:
        raise InputError(
            f"init_settings.{common[0]}: both stages have the same one, which is given as {common[0]}="
        )
    with open_dict(psnr):
        psnr.update({key: job[key] for key in _SHARED})
        psnr.trainer.update({key: job["trainer"][key] for key in _MACHINE})
    try:
        psnr.merge_with(settings)
    except OmegaConfBaseException as error:
        raise InputError(f"init_settings: {str(error).splitlines()[0]}") from error
    return psnr


def psnr_model(cfg: DictConfig, *, data_hash: str, train: Callable[..., Any]) -> Path:
    """``generator.safetensors`` of a GAN job's PSNR stage: the kept one, or one that is trained now.

    It lies in ``runs/init/KEY``, KEY the hash of everything that decides what comes out. Of several jobs that
    ask for it at the same time one trains, the others wait. A training that was interrupted goes on.

    Raises:
        InputError: it has to be trained, and torchrun or SLURM has started several processes, each of which
            would do so; or its training failed.
    """
    psnr = psnr_config(cfg)
    settings = TrainerSettings.of(**plain(psnr.trainer))
    decides = immutable_settings(plain(psnr)) | {
        "trainer.max_updates": settings.max_updates,
        "trainer.precision": settings.resolved_precision(),
        "photos": data_hash,
    }
    folder = FOLDER / json_hash(decides)[:16]
    model = folder / "generator.safetensors"
    if _finished(model, settings.max_updates):
        rank_zero_only(announce)(f"init=auto: starting from {model}")
        return model
    launcher, processes = launched_processes() or ("", 1)
    if processes > 1 or settings.num_nodes > 1:
        raise InputError(
            f"init=auto: {model} is not there yet, and each of {launcher or 'the nodes'}'s processes would "
            "train it: run stage=psnr first and give init=runs/NAME/generator.safetensors"
        )
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_suffix(".lock"))
    try:
        held = lock.acquire(timeout=0)
    except Timeout:
        announce(f"init=auto: another job trains {folder}: waiting for it")
        held = lock.acquire()
    with held:
        if not _finished(model, settings.max_updates):
            psnr.name = f"{FOLDER.name}/{folder.name}"
            psnr.resume = "last" if any((folder / "checkpoints").glob("*.ckpt")) else None
            announce(
                f"init=auto: {'going on with' if psnr.resume else 'training'} the PSNR stage in {folder}"
            )
            try:
                # The GAN job's draws do not depend on who has trained its start. It has drawn nothing on a
                # GPU so far, and to ask each for its state would take memory there.
                with isolate_rng(include_cuda=False):
                    train(psnr, folder, spawn=True)
                torch.cuda.manual_seed_all(psnr.seed)
            except InputError as error:
                raise InputError(f"init=auto, the PSNR stage in {folder}: {error}") from error
    return model


def _finished(model: Path, updates: int) -> bool:
    # The file is renewed at each validation: it says itself how far it is.
    return model.exists() and (read_contents(model).updates or 0) >= updates


def _search_path() -> list[str]:
    """Where else the command line has looked for configuration: ``--config-dir`` and the like."""
    if not HydraConfig.initialized():
        return []
    own = ("hydra", "main", "schema")
    sources = [each for each in HydraConfig.get().runtime.config_sources if each.provider not in own]
    folders = [f"{each.schema}://{each.path}" for each in sources]
    return [f"hydra.searchpath=[{','.join(folders)}]"] if folders else []


def start_from(generator: nn.Module, init: str | Path, *, partial: bool) -> dict[str, Any]:
    """Loads into the generator the weights of ``init``, any file or name that ``read_generator_file`` knows.

    With ``partial`` it loads what fits of a generator of another scale or size, and says what was left.

    Returns:
        The lineage, as of ``load_state`` or ``warm_start``.

    Raises:
        InputError: not readable, or it does not fit; without ``partial`` the message names the settings that
            the file asks for.
    """
    announce_unfinished(Path(init))
    if partial:
        started = warm_start(generator, init)
        rank_zero_only(announce)(f"init={init} init_partial=true: {started}")
        return started.lineage
    state, spec, _ = read_generator_file(init)
    own = network_spec(generator)
    scale = likely_scale(state, own["arguments"].get("scale")) if spec is None else None
    found = resolve_spec(state, spec, scale=scale, source=init)
    theirs = found["arguments"]
    if found["architecture"] != own["architecture"]:
        raise InputError(
            f"init={init} holds {found['architecture']}, and the generator is {own['architecture']}: give "
            "generator=rrdb, srresnet, srcnn or sft, whichever the file holds"
        )
    different = {
        name: theirs[name]
        for name, value in own["arguments"].items()
        if name in theirs and theirs[name] != value and not name.startswith("init_")
    }
    if different:
        keys = (f"{'scale' if name == 'scale' else f'generator.{name}'}={v}" for name, v in different.items())
        raise InputError(
            f"init={init} does not fit the generator: it was made with {' '.join(keys)}; give these, "
            "or init_partial=true to load what fits"
        )
    return load_state(generator, init)


@rank_zero_only
def announce_unfinished(model: Path) -> None:
    """Tells where a run's model is used that has not come to its end."""
    run_dir = model.parent.parent if model.parent.name == "checkpoints" else model.parent
    state = read_outcome(run_dir).get("state", "finished")
    if state != "finished":
        updates = read_contents(model).updates
        after = "" if updates is None else f" after {updates:,} updates"
        announce(f"init={model}: that run did not end, it is {state}{after}; resume=last goes on with it")


class TrainedStart(Callback):
    """A new run from all that another has learnt: networks, moving average, optimisers' means; no counts.

    Settings, schedules, samples and random numbers are the new run's own.

    Args:
        path: a checkpoint, or a run's folder or name, as ``resume=`` takes them.

    Raises:
        InputError: no readable checkpoint.
    """

    def __init__(self, path: str) -> None:
        try:
            self.saved = read_checkpoint(path, Path(path))
        except InputError as error:
            raise InputError(str(error).replace("resume=", "init_from=", 1)) from error
        content = torch.load(self.saved.path, map_location="cpu", weights_only=True, mmap=True)
        self.state: dict[str, Tensor] = content["state_dict"]
        self._optimizers: list[dict[str, Any]] = content["optimizer_states"]
        self.origin = {
            "file": self.saved.path.name,
            "sha256": state_hash(self.state),
            "metadata": {**self.saved.provenance, "updates": self.saved.updates},
        }

    def load(self, stage: Stage, config: Mapping[str, Any]) -> None:
        """The networks, if they are the stage's; the optimisers follow when the trainer has made them."""
        for key in ("optimizer", "discriminator_optimizer"):
            was, now = ((each.get(key) or {}).get("_target_") for each in (self.saved.config, config))
            if was != now:
                raise InputError(
                    f"init_from={self.saved.path} was trained with {key}._target_={was}, not {now}: give the "
                    "same, or init= for the generator alone"
                )
        if difference := differences(stage.state_dict(), self.state):
            raise InputError(
                f"init_from={self.saved.path} is of another stage or network: {difference}; init= takes the "
                "generator alone"
            )
        stage.load_state_dict(self.state)
        announce(f"init_from={self.saved.path}: networks and optimisers after {self.saved.updates:,} updates")

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The means of the gradients; rates and other settings stay the new run's."""
        for optimizer, saved in zip(trainer.optimizers, self._optimizers, strict=True):
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": saved["state"], "param_groups": groups})
        self._optimizers, self.state = [], {}


def start_classifier(network: VGGClassifier, init: Path) -> dict[str, Any]:
    """Loads ``imagenet`` or a file's VGG into the classifier, but for its classes' layer; the lineage."""
    loaded = load_pretrained(network, None if init == Path(IMAGENET) else init)
    return {"file": init.name, "sha256": state_hash(loaded), "metadata": {}}
