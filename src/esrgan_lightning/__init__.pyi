from .config import compose as compose
from .data.datamodule import SRDataModule as SRDataModule
from .evaluation.benchmark import evaluate as evaluate
from .inference import Upscaler as Upscaler
from .losses import WeightedLoss as WeightedLoss
from .networks import RRDBNet as RRDBNet
from .networks import VGGDiscriminator as VGGDiscriminator
from .stages import GANStage as GANStage
from .stages import PSNRStage as PSNRStage
from .training import quiet as quiet
from .training import train as train
from .weights import interpolate as interpolate
from .weights import load_generator as load_generator

__version__: str
