"""Generators as files that run without this library: ONNX, torch.export, TorchScript, ncnn."""

from esrgan_lightning.export.files import SUFFIXES, Exported, export_generator

__all__ = ["SUFFIXES", "Exported", "export_generator"]
