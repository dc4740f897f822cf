"""The command line's configuration, for notebooks and tests."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError

from esrgan_lightning.errors import InputError, nearest
from esrgan_lightning.ops.files import with_home

_RUN = (
    "name", "seed", "init", "init_from", "resume", "overwrite", "objective", "data", "stage", "optimizer",
    "schedule", "trainer", "logger", "callbacks",
)  # fmt: skip
_GENERATOR = (
    "preset", "scale", "init_partial", "init_settings", "generator", "loss", "degradation", "conditions",
    "metrics",
)  # fmt: skip
_MATERIALS = ("esrgan_lightning.data.materials", "esrgan_lightning.data.minc")
_DISCRIMINATOR = ("discriminator", "discriminator_optimizer", "discriminator_schedule")
# Values that are computed with before anyone looks at their type.
_WHOLE = (
    "seed", "scale", "data.batch_size", "data.patch_size", "data.num_workers", "schedule.warmup",
    "discriminator_schedule.warmup", "stage.max_skipped",
)  # fmt: skip
_NUMBERS = (
    "optimizer.lr", "optimizer.betas", "discriminator_optimizer.lr", "discriminator_optimizer.betas",
    "data.weights", "degradation.sigma",
)  # fmt: skip
_SWITCHES = ("overwrite", "init_partial", "optimizer.fused", "discriminator_optimizer.fused")
_SECTIONS = ("callbacks", "logger", "init_settings", "loss.weights")


def expand_home(value: Any) -> Any:
    """A copy of a configuration, or of plain values, in which no text begins with ``~/``.

    >>> expand_home({"root": "~/photos"}) == {"root": with_home("~/photos")}
    True
    """
    if isinstance(value, DictConfig):
        expanded = OmegaConf.create(expand_home(OmegaConf.to_container(value, resolve=False)))
        OmegaConf.set_struct(expanded, OmegaConf.is_struct(value))
        return expanded
    if isinstance(value, Mapping):
        return {key: expand_home(each) for key, each in value.items()}
    if isinstance(value, list):
        return [expand_home(each) for each in value]
    return with_home(value) if isinstance(value, str) and value.startswith("~/") else value


def words_for_hydra(words: Sequence[str]) -> list[str]:
    """Command-line words with quotes around what Hydra cannot read bare: a ``~/``, letters beyond ASCII.

    >>> words_for_hydra(["files=[~/a,b]", "root=Köln"]) == [f'files=["{with_home("~/a")}",b]', 'root="Köln"']
    True
    """

    def quoted(word: str) -> str:
        if word.startswith("-"):  # no override: a switch of Hydra's
            return with_home(word)
        if "'" in word or '"' in word:
            return word
        plain = r",(){}\[\]" + ":" * ("{" in word)  # in braces a colon ends a key
        bare = rf"(?<=[=\[,:(])(?:~/[^,\[\]{{}}]*|[^{plain}]*[^\0-\x7f{plain}][^{plain}]*)"
        return re.sub(bare, lambda found: f'"{expand_home(found[0])}"', word)

    return [quoted(word) for word in words]


def config_of(overrides: Sequence[str]) -> str:
    """Which configuration ``esrgan-train`` composes: ``stage=material`` has no generator, and one of its own.

    >>> config_of(["stage=material", "data=minc"]), config_of(["stage=gan"])
    ('material', 'train')
    """
    return "material" if "stage=material" in overrides else "train"


def compose(*overrides: str, config: str | None = None) -> DictConfig:
    """What ``esrgan-train OVERRIDES…`` would run with.

    A folder of configuration of one's own (``--config-dir``) is here ``"hydra.searchpath=[file:///…/my]"``.

    Example:
        >>> compose("stage=gan", "init=null", "preset=demo").loss.weights.adversarial
        0.005
    """
    overrides = tuple(words_for_hydra(overrides))
    hydra = GlobalHydra.instance()
    outer = hydra.hydra  # inside a job of Hydra's: there can be one at a time
    hydra.clear()
    try:
        with initialize_config_module("esrgan_lightning.conf", version_base="1.3"):
            return hydra_compose(config or config_of(overrides), overrides=list(overrides))
    finally:
        hydra.hydra = outer


def chosen_metrics(given: Any) -> dict[str, dict[str, Any]]:
    """Names and settings in ``metrics=``: a name, a list of names, or in it a name with its settings.

    Raises:
        InputError: none is given, one stands twice or is unknown, or its settings are no mapping.

    >>> chosen_metrics(OmegaConf.create(["psnr_y", {"lpips": {"weights": "alexnet.pth"}}]))
    {'psnr_y': {}, 'lpips': {'weights': 'alexnet.pth'}}
    """
    given = OmegaConf.to_container(given, resolve=True) if OmegaConf.is_config(given) else given
    # Each of the library's has its tolerance there; the figures themselves come with torch.
    evaluation = files("esrgan_lightning.conf").joinpath("evaluate.yaml").read_text("utf-8")
    known = OmegaConf.select(OmegaConf.create(evaluation), "tolerances")
    chosen: dict[str, dict[str, Any]] = {}
    for entry in given if isinstance(given, list) else [] if given is None else [given]:
        for name, settings in (entry if isinstance(entry, Mapping) else {entry: {}}).items():
            if not isinstance(settings, Mapping):
                raise InputError(
                    f"metrics: {name}: {settings}: settings are a mapping, {{{name}:{{KEY:VALUE}}}}"
                )
            if name not in known and "_target_" not in settings:
                raise InputError(f"metrics: {name}; known are {', '.join(known)}")
            if str(name) in chosen:
                raise InputError(f"metrics: {name} may stand only once")
            chosen[str(name)] = {str(key): value for key, value in settings.items()}
    if not chosen:
        raise InputError("metrics has no value: metrics=[psnr_y,ssim_y]")
    return chosen


def check_config(cfg: DictConfig) -> None:
    """What the configuration of a run tells by itself: name, keys and kinds of values."""
    check_name(cfg.name)
    check_keys(cfg)
    check_kinds(cfg)


def check_name(name: object) -> None:
    """Refuses a run's name that could not be given back on the command line as it is.

    Raises:
        InputError: a character that Hydra reads as syntax, as in ``init=runs/a=b/generator.safetensors``.
    """
    if not re.fullmatch(r"[\w./@+ -]*[\w.]", str(name), flags=re.ASCII):
        raise InputError(
            f"name={name}: use letters, digits and . _ - / only: anything else has a meaning on Hydra's "
            "command line, and init=runs/NAME/… would not be understood"
        )


def check_free(run_dir: Path) -> None:
    """Raises InputError for a folder in which another run has left checkpoints."""
    if any((run_dir / "checkpoints").glob("*.ckpt")):
        raise InputError(
            f"{run_dir} already holds checkpoints: continue with resume=last, choose another name=, "
            "or start anew with overwrite=true"
        )


def check_keys(cfg: DictConfig) -> None:
    """Raises InputError where a key of a run's configuration would have no effect, or refers to none.

    A key that others refer to, as ``generator.num_features=${width}`` does to ``width``, has one. So are data
    of another stage refused, whose keys refer to what this one lacks.
    """
    material, data = cfg.stage.name == "material", str(cfg.data.get("_target_"))
    if material and data not in _MATERIALS and data.startswith("esrgan_lightning.data."):
        raise InputError("stage=material learns from images by class: give data=materials or data=minc")
    if not material and data in _MATERIALS:
        raise InputError("data=materials and data=minc are for stage=material: give photos, as data=folder")
    try:
        OmegaConf.to_container(cfg, resolve=True)
    except InterpolationKeyError as error:
        raise InputError(f"{error.full_key}: {str(error).splitlines()[0]}") from error
    kind = ("network",) if material else _GENERATOR
    known = [*_RUN, *kind, *(_DISCRIMINATOR if "discriminator" in cfg else ())]
    text = OmegaConf.to_yaml(cfg)
    for key in map(str, cfg):
        if key not in known and not re.search(rf"\$\{{{re.escape(key)}[.\[}}]", text):
            raise InputError(f"{key}: there is no such key{nearest(key, sorted(known))}")


def check_sections(cfg: DictConfig, *keys: str) -> None:
    """Raises InputError where one of these keys is no mapping."""
    for key in keys:
        if not isinstance(value := OmegaConf.select(cfg, key, default={}), Mapping):
            raise InputError(f"{key}={value} must be a section: set its keys, {{KEY:VALUE}}")


def check_kinds(cfg: DictConfig) -> None:
    """Raises InputError where a number, a switch or a section is something else, as the text ``1e-4x``."""

    def check(keys: Iterable[str], kinds: type | tuple[type, ...], what: str) -> None:
        for key in keys:
            value = OmegaConf.select(cfg, key)
            each = value if isinstance(value, ListConfig) else [] if value is None else [value]
            if not all(isinstance(one, kinds) for one in each):
                raise InputError(f"{key}={value} must be {what}")

    check_sections(cfg, *_SECTIONS)
    check(_WHOLE, int, "a whole number")
    weights = (f"loss.weights.{name}" for name in OmegaConf.select(cfg, "loss.weights") or ())
    check([*_NUMBERS, *weights], (int, float), "a number")
    for key in ("optimizer.lr", "discriminator_optimizer.lr"):
        if (rate := OmegaConf.select(cfg, key)) is not None and not 0 <= rate < math.inf:
            raise InputError(f"{key}={rate} must be a number of at least 0")
    check(_SWITCHES, bool, "true or false")
