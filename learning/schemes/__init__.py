"""Learning systems: one file each, reading like the message sequence chart of its paper."""

from learning.scheme import Scheme
from learning.schemes.centralised import Centralised
from learning.schemes.deep_jscc import DeepJSCC
from learning.schemes.dual_health import DualHealth
from learning.schemes.epsl import EPSL
from learning.schemes.fedalign_moe import FedAlignMoE
from learning.schemes.fedavg import FedAvg
from learning.schemes.fedprox import FedProx
from learning.schemes.fedsl_pq import FedSLPQ
from learning.schemes.flexp_sfl import FlexPSFL
from learning.schemes.flower import Flower
from learning.schemes.gapsl import GAPSL
from learning.schemes.genfl import GenFL
from learning.schemes.hasfl import HASFL
from learning.schemes.hetlora import HetLoRA
from learning.schemes.hfedmoe import HFedMoE
from learning.schemes.ho_sfl import HOSFL
from learning.schemes.hsplitlora import HSplitLoRA
from learning.schemes.local import Local
from learning.schemes.moe_inference import MoeInference
from learning.schemes.ntrscc import NTRSCC
from learning.schemes.psl import PSL
from learning.schemes.separate_coding import SeparateCoding
from learning.schemes.sfl import SFL
from learning.schemes.sfl_v1 import SFLV1
from learning.schemes.sfl_v2 import SFLV2
from learning.schemes.sflam import SFLAM
from learning.schemes.sl import SL
from learning.schemes.st_sflora import STSFLora
from learning.schemes.token_comm import TokenComm
from learning.schemes.token_fusion import TokenFusion
from learning.schemes.tsflora import TSFLora
from learning.schemes.zo_sfl import ZOSFL

SCHEMES: dict[str, type[Scheme]] = {
    "centralised": Centralised,
    "fedavg": FedAvg,
    "fedprox": FedProx,
    "flower": Flower,
    "genfl": GenFL,
    "local": Local,
    "sl": SL,
    "sfl_v1": SFLV1,
    "sfl_v2": SFLV2,
    "sfl": SFL,
    "psl": PSL,
    "epsl": EPSL,
    "gapsl": GAPSL,
    "ho_sfl": HOSFL,
    "zo_sfl": ZOSFL,
    "flexp_sfl": FlexPSFL,
    "fedsl_pq": FedSLPQ,
    "hasfl": HASFL,
    "sflam": SFLAM,
    "tsflora": TSFLora,
    "st_sflora": STSFLora,
    "hsplitlora": HSplitLoRA,
    "hetlora": HetLoRA,
    "fedalign_moe": FedAlignMoE,
    "moe_inference": MoeInference,
    "ntrscc": NTRSCC,
    "deep_jscc": DeepJSCC,
    "separate_coding": SeparateCoding,
    "hfedmoe": HFedMoE,
    "token_comm": TokenComm,
    "token_fusion": TokenFusion,
    "dual_health": DualHealth,
}
