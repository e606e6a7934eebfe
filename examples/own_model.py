"""A model of your own, made of torch modules: trained in two halves at first, and then as a whole from its own weights.

python examples/own_model.py
"""

from pathlib import Path
from typing import Annotated

from annotated_types import Ge
from torch import nn

from learning.models import Gru, own_model
from scenarios import load, register, simulate

FOLDER = Path("runs/own_model")
SCENARIO = Path(__file__).with_name("own_model.yaml")


@own_model
def row_reader(input_shape: tuple[int, ...], classes: int, width: Annotated[int, Ge(1)] = 48) -> nn.Sequential:
    """Reads an image row by row, as a series: recurrent layer | recurrent layer | classifier of all states."""
    _, rows, pixels = input_shape
    return nn.Sequential(
        nn.Sequential(nn.Flatten(1, 2), Gru(pixels, width)),
        Gru(width, width),
        nn.Sequential(nn.Flatten(), nn.LayerNorm(rows * width), nn.Linear(rows * width, classes)),
    )


register("model", "row_reader", row_reader)  # from now on a scenario can name it, with its field `width`

if __name__ == "__main__":
    split = simulate(load(SCENARIO), out=FOLDER / "split")
    print(f"split: accuracy {split.accuracy:.3f} after {split.simulated_time_s:.1f} simulated seconds")
    begin = {"learning.init_from": str((FOLDER / "split" / "model" / "model.safetensors").resolve())}
    whole = simulate(load(SCENARIO, {**begin, "learning.scheme": {"name": "fedavg", "local_epochs": 1}}))
    print(f"whole: accuracy {whole.accuracy:.3f} after as many rounds from these weights")
