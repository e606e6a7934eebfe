# %% [markdown]
# # First look at a run
#
# Twelve microcontrollers of very different speed train one model in one cell, by split federated learning. This
# notebook runs the shipped scenario and asks what decided its speed. Open it
# in Jupyter with the extension jupytext, or run it as a script.

# %%
from analysis import plots
from scenarios import load, simulate

result = simulate(load("scenarios/quickstart.yaml"), out="runs/first_look")
print(result)

# %% [markdown]
# Every table of the run is a pandas data frame in SI units. A row of `rounds` is a round:

# %%
run = result.run
run.rounds[["round", "latency_s", "participants", "energy_j", "uplink_bits"]].head(3)

# %% [markdown]
# How does the accuracy grow over simulated time?

# %%
plots.learning_curves(run)

# %% [markdown]
# A round lasts as long as its critical path: the chain of waiting, transmissions and jobs that ended last.
# These are its parts in one round:

# %%
plots.gantt(run, round=3)

# %% [markdown]
# And over all rounds, the seconds of the critical paths by cause, and the users that were on them:

# %%
run.time_by_cause()

# %%
run.time_by_user().head(3)

# %% [markdown]
# The radio link of one user decides. So what would four times the bandwidth bring? The same seed gives the same
# data, channels and slowdowns, and what was trained before is not trained again:

# %%
wider = simulate(load("scenarios/quickstart.yaml", {"network.sharing.uplink.bandwidth_mhz": 8}), out="runs/wider")
print(f"{result.simulated_time_s:.2f} s before, {wider.simulated_time_s:.2f} s with four times the uplink")
