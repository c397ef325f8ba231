"""Model files: read under guard, checked against what the network needs, written whole."""

from tsm_ref.checkpoint.contents import Checkpoint, FileState
from tsm_ref.checkpoint.files import load_checkpoint, sha256_of
from tsm_ref.checkpoint.hdf5.native import load, save
from tsm_ref.checkpoint.keras.load import load_keras
from tsm_ref.checkpoint.onnx_in.load import load_onnx
from tsm_ref.checkpoint.onnx_out.export import export_onnx, export_onnx_stream
from tsm_ref.checkpoint.registry import names, resolve, weights_folder
from tsm_ref.checkpoint.tensors.safetensors import save_safetensors
from tsm_ref.checkpoint.views import FileView

__all__ = [
    "Checkpoint",
    "FileState",
    "FileView",
    "export_onnx",
    "export_onnx_stream",
    "load",
    "load_checkpoint",
    "load_keras",
    "load_onnx",
    "names",
    "resolve",
    "save",
    "save_safetensors",
    "sha256_of",
    "weights_folder",
]
