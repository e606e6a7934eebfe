"""All modules can be imported where the operating system is not POSIX, as on Windows."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

WITHOUT_POSIX = """
import importlib, os, pkgutil, signal, sys
import joblib, matplotlib.figure, pandas, plotly.graph_objects, psutil, pydantic, pyarrow.parquet, rich.live
import scipy.stats, simpy, sklearn.datasets, torch, torch.func, typer, yaml, filelock, multiprocessing.connection
import subprocess

EXTRAS = {"flwr"}  # a framework whose classes the modules of one scheme derive from, optional
for name in ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "posix", "syslog"):
    sys.modules[name] = None  # makes an import of it fail
for name in ("fork", "register_at_fork", "sched_getaffinity", "killpg", "setsid", "getuid", "uname", "O_NOFOLLOW"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGKILL", "SIGHUP", "SIGUSR1", "SIGALRM", "setitimer", "pthread_sigmask"):
    delattr(signal, name)

for room in ("netsim", "learning", "scenarios", "analysis"):
    package = importlib.import_module(room)
    for module in pkgutil.walk_packages(package.__path__, f"{room}."):
        if not module.name.endswith("__main__"):
            try:
                importlib.import_module(module.name)
            except ModuleNotFoundError as missing:
                if (missing.name or "").partition(".")[0] not in EXTRAS:
                    raise
print("imported", len([name for name in sys.modules if name.split(".")[0] == "learning"]))
"""


def test_nothing_needs_posix_when_it_is_imported() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_POSIX], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) > 100
