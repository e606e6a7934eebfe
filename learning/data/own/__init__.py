"""Data sets of the user's own: files, tables, folders of images, and data sets of other libraries."""

from learning.data.own.huggingface import HuggingFace, from_huggingface
from learning.data.own.image_folder import ImageFolder
from learning.data.own.npz import Npz, save
from learning.data.own.tables import Csv, ParquetTable, from_frame
from learning.data.own.torchvision import TorchVision, from_torch

__all__ = [
    "Csv",
    "HuggingFace",
    "ImageFolder",
    "Npz",
    "ParquetTable",
    "TorchVision",
    "from_frame",
    "from_huggingface",
    "from_torch",
    "save",
]
