"""Model files: read under guard, checked against what the network needs, written whole."""

from tsm_ref.checkpoint.contents import Checkpoint
from tsm_ref.checkpoint.files import load_checkpoint, sha256_of
from tsm_ref.checkpoint.keras import load_keras
from tsm_ref.checkpoint.native import load, save
from tsm_ref.checkpoint.registry import names, resolve, weights_folder

__all__ = [
    "Checkpoint",
    "load",
    "load_checkpoint",
    "load_keras",
    "names",
    "resolve",
    "save",
    "sha256_of",
    "weights_folder",
]
