"""Kinds of data, one file each: how examples are stored, seen by networks, judged and drawn.

Every file of this folder registers its kind of data, so that a new one is a new file and nothing else.
"""

import importlib
import pkgutil

from genlab.modalities.base import Layout, Modality
from genlab.modalities.registry import all_modalities, has_layout, modality_of, register, require_grid

__all__ = ["Layout", "Modality", "all_modalities", "has_layout", "modality_of", "register", "require_grid"]

for _file in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_file.name}")
