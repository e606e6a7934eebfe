# %% [markdown]
# # A straggler study in 40 lines
#
# Twelve devices slow down at random, by factors with a heavy tail. Is it better to wait for all of them, to
# stop at a deadline, or to go on with the first nine? Three policies, each with the same seeds.

# %%
import analysis
from analysis import plots
from scenarios import load, simulate

POLICIES = {
    "Wait for all": "wait_for_all",
    "Deadline of 0.4 s": {"name": "deadline", "deadline_s": 0.4},
    "First 9 of 12": {"name": "first_k", "k": 9},
}
SEEDS = (1, 2, 3, 4, 5)

# %% [markdown]
# The same seed gives all policies the same users, channels, slowdowns and mini-batches: draws are named, so
# that a policy moves none of them. A run ends when the model is 85 % accurate.

# %%
runs = {}
for policy, setting in POLICIES.items():
    for seed in SEEDS:
        changes = {"learning.policy": setting, "seed": seed, "learning.stop.accuracy": 0.85}
        scenario = load("scenarios/heavy_tails.yaml", changes)
        runs[policy, seed] = simulate(scenario, out=f"runs/stragglers/{policy}/{seed}").run

# %% [markdown]
# Accuracy over simulated time, and where the time of a round goes, with the first seed:

# %%
first = {policy: runs[policy, SEEDS[0]] for policy in POLICIES}
plots.learning_curves(first)

# %%
plots.round_time(first)

# %% [markdown]
# The comparison pairs runs by seed; `print(comparison)` shows energy, traffic and latency, too:

# %%
comparison = analysis.compare(runs.values(), target=0.85)
for sentence in comparison.sentences:
    if "energy" not in sentence and "bits" not in sentence:
        print(sentence)

# %% [markdown]
# Rounds of the first nine are shorter for certain. How much sooner a model is accurate depends on more than that, and
# five seeds of a short training do not tell the policies apart: `netsim sweep stragglers` has ten, to 90 %.
