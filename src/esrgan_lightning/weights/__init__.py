"""Generators by name and in files: safe reading, spec and provenance, foreign layouts, interpolation."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
