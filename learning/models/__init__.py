"""Models as sequences of blocks that can be cut anywhere."""

from learning.models.architecture import Architecture
from learning.models.experts import Experts
from learning.models.gpt import Gpt
from learning.models.lenet import LeNet
from learning.models.mlp import Mlp
from learning.models.own import own_model
from learning.models.recurrent import Gru, Lstm, Recurrent
from learning.models.segment import Segment, whole
from learning.models.tokens import Decoder, SummaryClassifier, TokenEncoder, WordTable
from learning.models.towers import Multimodal, Tower, Towers, multimodal
from learning.models.transformer import Transformer
from learning.models.uncertainty import UncertaintyFusion
from learning.models.vgg import Vgg, VggMini
from learning.models.vit import Vit
from learning.models.windows import WindowEncoder

MODELS: dict[str, type] = {
    "mlp": Mlp,
    "lenet": LeNet,
    "vgg_mini": VggMini,
    "vgg": Vgg,
    "vit": Vit,
    "gpt": Gpt,
    "transformer": Transformer,
    "token_encoder": TokenEncoder,
    "recurrent": Recurrent,
    "word_table": WordTable,
    "decoder": Decoder,
    "window_encoder": WindowEncoder,
    "uncertainty_fusion": UncertaintyFusion,
}

__all__ = [
    "MODELS",
    "Architecture",
    "Decoder",
    "Experts",
    "Gpt",
    "Gru",
    "LeNet",
    "Lstm",
    "Mlp",
    "Multimodal",
    "Recurrent",
    "Segment",
    "SummaryClassifier",
    "TokenEncoder",
    "Tower",
    "Towers",
    "Transformer",
    "UncertaintyFusion",
    "Vgg",
    "VggMini",
    "Vit",
    "WindowEncoder",
    "WordTable",
    "multimodal",
    "own_model",
    "whole",
]
