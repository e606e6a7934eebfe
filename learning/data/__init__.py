"""Data sets, their partition among users, and mini-batches."""

from learning.data.banking77 import Banking77
from learning.data.batches import Batches, Inputs, Last, Rows, rows
from learning.data.cifar10 import Cifar10
from learning.data.dataset import Dataset, DatasetLoader, MissingData, Split
from learning.data.digits import Digits
from learning.data.fashion_mnist import FashionMnist
from learning.data.modalities import Modalities
from learning.data.restaurants import Restaurants
from learning.data.tinyshakespeare import TinyShakespeare

DATASETS: dict[str, type] = {
    "digits": Digits,
    "fashion_mnist": FashionMnist,
    "cifar10": Cifar10,
    "tinyshakespeare": TinyShakespeare,
    "restaurants": Restaurants,
    "banking77": Banking77,
}

__all__ = [
    "DATASETS",
    "Banking77",
    "Batches",
    "Cifar10",
    "Dataset",
    "DatasetLoader",
    "Digits",
    "FashionMnist",
    "Inputs",
    "Last",
    "MissingData",
    "Modalities",
    "Restaurants",
    "Rows",
    "Split",
    "TinyShakespeare",
    "rows",
]
