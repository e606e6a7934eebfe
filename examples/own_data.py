"""Federated learning on data of your own: vibration of machines, each of which is a user that knows its own faults.

python examples/own_data.py
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from learning.data import Dataset, save
from scenarios import load, simulate

FOLDER = Path("runs/own_data")
FAULTS = np.array(["bearing", "belt", "none"])


def recordings() -> tuple[Any, Any, Any]:
    """Spectra (800, 16), names of faults (800,) and machines (800,): what you would read from your own files."""
    generator = np.random.Generator(np.random.Philox(key=1))
    machine, fault = np.arange(800) % 8, generator.integers(0, 3, 800)
    spectra = generator.gamma(2.0, 1.0, (800, 16)) * (1 + machine[:, None] / 8)
    spectra[np.arange(800), 3 + 5 * fault] += 4 * (fault < 2)  # a fault has a frequency of its own
    return spectra, FAULTS[fault], machine


if __name__ == "__main__":
    spectra, faults, machines = recordings()
    dataset = Dataset.from_arrays(spectra, faults, groups=machines, name="machines", standardise=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    data = save(dataset, FOLDER / "machines.npz")  # a file, so that the run can be repeated from its scenario

    scenario = load(Path(__file__).with_name("own_data.yaml"))
    assert scenario.learning is not None
    result = simulate(replace(scenario, learning=replace(scenario.learning, data=data)), out=FOLDER / "run")
    print(f"accuracy {result.accuracy:.3f} after {result.simulated_time_s:.1f} simulated seconds")

    model = result.model()  # an nn.Sequential; its weights are also in runs/own_data/run/model
    assert isinstance(dataset.test.x, torch.Tensor)
    first = model(dataset.test.x[:3]).argmax(1)
    print("predicted:", *(dataset.names[number] for number in first))
    print("true:     ", *(dataset.names[number] for number in dataset.test.y[:3]))
