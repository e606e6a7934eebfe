"""Data sets, how they are spread over users, and mini-batches."""

from learning.data.batches import Batches, Rows
from learning.data.dataset import Dataset, DatasetLoader, MissingData, Split
from learning.data.digits import Digits

DATASETS: dict[str, type] = {"digits": Digits}

__all__ = ["DATASETS", "Batches", "Dataset", "DatasetLoader", "Digits", "MissingData", "Rows", "Split"]
