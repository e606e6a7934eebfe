"""Data sets, their partition among users, and mini-batches."""

from learning.data.audio_visual_questions import AudioVisualQuestions, Descriptions, Tones
from learning.data.banking77 import Banking77
from learning.data.batches import Batches, Inputs, Last, Rows, rows
from learning.data.cifar10 import Cifar10
from learning.data.dataset import Dataset, DatasetLoader, MissingData, Split
from learning.data.digits import Digits
from learning.data.fashion_mnist import FashionMnist
from learning.data.health import Health
from learning.data.holding import Holding
from learning.data.modalities import Modalities
from learning.data.own import (
    Csv,
    HuggingFace,
    ImageFolder,
    Npz,
    ParquetTable,
    TorchVision,
    from_frame,
    from_huggingface,
    from_torch,
    save,
)
from learning.data.phone_watch import PhoneWatch
from learning.data.restaurants import Restaurants
from learning.data.spoken_digits import SpokenDigits
from learning.data.tinyshakespeare import TinyShakespeare

DATASETS: dict[str, type] = {
    "digits": Digits,
    "fashion_mnist": FashionMnist,
    "cifar10": Cifar10,
    "tinyshakespeare": TinyShakespeare,
    "restaurants": Restaurants,
    "banking77": Banking77,
    "spoken_digits": SpokenDigits,
    "phone_watch": PhoneWatch,
    "audio_visual_questions": AudioVisualQuestions,
    "tones": Tones,
    "descriptions": Descriptions,
    "health": Health,
    "npz": Npz,
    "csv": Csv,
    "parquet": ParquetTable,
    "image_folder": ImageFolder,
    "torchvision": TorchVision,
    "huggingface": HuggingFace,
}

__all__ = [
    "DATASETS",
    "AudioVisualQuestions",
    "Banking77",
    "Batches",
    "Cifar10",
    "Csv",
    "Dataset",
    "DatasetLoader",
    "Descriptions",
    "Digits",
    "FashionMnist",
    "Health",
    "Holding",
    "HuggingFace",
    "ImageFolder",
    "Inputs",
    "Last",
    "MissingData",
    "Modalities",
    "Npz",
    "ParquetTable",
    "PhoneWatch",
    "Restaurants",
    "Rows",
    "Split",
    "SpokenDigits",
    "TinyShakespeare",
    "Tones",
    "TorchVision",
    "from_frame",
    "from_huggingface",
    "from_torch",
    "rows",
    "save",
]
