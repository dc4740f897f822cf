"""Which checkpoint a run continues from, and what may be different from then on."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor

from esrgan_lightning.config import expand_home
from esrgan_lightning.errors import InputError, first_few
from esrgan_lightning.ops.tensors import plain_tensors
from esrgan_lightning.run.checkpoints import LAST, earlier_checkpoints
from esrgan_lightning.run.settings import SAFE
from esrgan_lightning.run.state import RUN_KEY
from esrgan_lightning.weights.files import read_file
from esrgan_lightning.weights.state import differences

# What may change when a run is continued, with all that lies below a key; docs/resume.md explains each.
_MUTABLE = {
    "": "name resume overwrite init init_from init_partial init_settings logger callbacks objective metrics",
    "trainer.": "max_updates max_time keep_last checkpoint_interval val_interval log_interval accelerator "
    "devices num_nodes strategy channels_last compile cuda_graphs gpu_kernels cast_features deterministic",
    "stage.": "max_skipped",
    # Whether the same photos are there is looked at.
    "data.": "num_workers prepare cache_dir download root files url endpoint max_cache train_dir val_dir "
    "train_hr train_lr val_hr val_lr val_name val_count skip_bad",
    "conditions.": "dir val_dir",
    "data.conditions.": "dir val_dir",  # the same once more, where the data have taken them over
}
MUTABLE_ON_RESUME = (
    *(f"{group}{key}" for group, keys in _MUTABLE.items() for key in keys.split()),
    *(f"trainer.{key}" for key in SAFE),
)
AUTO = "auto"


class Saved(NamedTuple):
    """What a resumed run has to know of its checkpoint."""

    path: Path
    updates: int
    provenance: dict[str, Any]
    config: dict[str, Any]
    wandb: str | None  # the id of the run at Weights & Biases
    state: dict[str, Tensor]  # names and shapes alone, on the meta device

    @property
    def run_dir(self) -> Path:
        """The folder of the run that has written it."""
        return self.path.resolve().parent.parent


def find_saved(resume: object, run_dir: Path, *, name: str) -> Saved | None:
    """:func:`read_checkpoint`; None without ``resume=``, and at the first start with ``auto``.

    ``name`` is the run's before ``${now:…}`` in it is put in: with ``auto`` it has to stay the same.
    """
    if resume is None:
        return None
    if resume != AUTO:
        return read_checkpoint(str(resume), run_dir)
    if "${now" in name:
        raise InputError("resume=auto needs name=: the default name is another one at each start")
    return read_checkpoint("last", run_dir) if _candidates(run_dir / "checkpoints") else None


def read_checkpoint(resume: str, run_dir: Path) -> Saved:
    """Reads the checkpoint that a run continues from.

    Where the last one is damaged, the one before takes its place, with a warning.

    Args:
        resume: ``last`` (of ``run_dir``), a checkpoint, a run's folder, or a run's name below ``runs``.
        run_dir: the run's folder.

    Raises:
        InputError: there is none, none is whole, or it is no checkpoint of a training run.
    """
    if resume != "last" and Path(resume).is_file():
        return _read(Path(resume))
    folders = [run_dir] if resume == "last" else [Path(resume), Path("runs") / resume]
    files = [path for folder in folders for path in _candidates(folder / "checkpoints")]
    if not files:
        where = " or ".join(str(folder / "checkpoints" / LAST) for folder in folders)
        raise InputError(f"resume={resume}: no checkpoint {where}; leave resume= out to start a run")
    faults = []
    for path in files:
        try:
            saved = _read(path)
        except InputError as error:
            faults.append(str(error))
            continue
        if faults:
            rank_zero_warn(f"{'; '.join(faults)}; going on from {path} (update {saved.updates}) instead")
        return saved
    raise InputError("; ".join(faults))


def _candidates(folder: Path) -> list[Path]:
    last = [folder / LAST] if (folder / LAST).is_file() else []
    return last + [path for _, path in earlier_checkpoints(folder)]


def _read(path: Path) -> Saved:
    try:
        content, lineage = read_file(path)
        tensors = plain_tensors(content["state_dict"], path, expected="expected a stage's tensors")
        run, provenance = content[RUN_KEY], dict(lineage["provenance"])
        updates, wandb = int(content["global_step"]), run["wandb"]
        if updates < 0 or not isinstance(wandb, str | None) or "data_hash" not in provenance:
            raise ValueError(f"it claims {updates} updates, wandb={wandb!r}")
        shapes = {name: tensor.to("meta") for name, tensor in tensors.items()}
        return Saved(path, updates, provenance, dict(run["config"]), wandb, shapes)
    except InputError as error:
        raise InputError(f"resume={error}") from error
    except Exception as error:  # another's file, or a hostile one, which fails in any of many ways
        raise InputError(
            f"resume={path} is no checkpoint of a training run ({type(error).__name__}: {error}); init= "
            "starts from mere weights"
        ) from error


def check_continues(
    saved: Saved, state: Mapping[str, Tensor], *, config: Mapping[str, Any], data_hash: str, max_updates: int
) -> None:
    """Raises InputError where nothing is left to do, or a setting, the photos or the networks are others."""
    if saved.updates >= max_updates:
        raise InputError(
            f"resume={saved.path} has made {saved.updates} updates already: give a trainer.max_updates "
            f"above that (it is {max_updates})"
        )
    if changed := list(_changes(expand_home(saved.config), config)):
        shown = first_few([f"{key}={_shown(new)} (it was {key}={_shown(old)})" for key, old, new in changed])
        keys = {key: old for key, old, _ in changed}
        longer = (
            f" For a longer run give schedule.updates={keys['schedule.updates']}: after that the rate stays "
            "lowest."
            if "schedule.updates" in keys
            else ""
        )
        raise InputError(
            f"resume={saved.path} was trained with other settings: {shown}.{longer} Give them as they were, "
            f"or start another run with init_from={saved.path}, which keeps networks and optimisers; "
            "docs/resume.md lists what may change"
        )
    if saved.provenance["data_hash"] != data_hash:
        raise InputError(
            f"resume={saved.path} was trained on other photos: their names or sizes differ. Give the folder "
            "as it was, or start another run with init="
        )
    if difference := differences(state, saved.state):
        raise InputError(f"resume={saved.path} is of another stage or network: {difference}")


def logger_resume_args(logger: type[Logger], saved: Saved) -> dict[str, Any]:
    """Arguments by which a logger goes on with a run's figures in the same folder."""
    if logger is TensorBoardLogger:
        return {"purge_step": saved.updates + 1}  # what the run had logged beyond its checkpoint
    if logger is WandbLogger and saved.wandb:
        return {"id": saved.wandb, "resume": "allow"}
    return {}


def immutable_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, by their dotted keys, that a run cannot change on its way."""
    return {
        key: value
        for key, value in _flat(dict(config) | {"loss": _terms(config)})
        if not any(key == each or key.startswith(f"{each}.") for each in MUTABLE_ON_RESUME)
    }


def _terms(config: Mapping[str, Any]) -> dict[str, Any]:
    """The losses that count: one without a weight, and the weight of none, stood in older configurations."""
    loss: dict[str, Any] = {"weights": {}} | dict(config.get("loss") or {})
    terms = {name: term for name, term in loss.items() if name != "weights" and term.get("_target_")}
    weights = {name: weight for name, weight in loss["weights"].items() if weight and name in terms}
    # The discriminator learns from its loss even where the generator does not.
    used = {*weights, *(["adversarial"] if "discriminator" in config else [])}
    return {"weights": weights} | {name: term for name, term in terms.items() if name in used}


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    before, after = immutable_settings(old), immutable_settings(new)
    for key in before | after:
        if before.get(key) != after.get(key):
            yield key, before.get(key), after.get(key)


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
