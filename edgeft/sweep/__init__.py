"""`edgeft sweep`: the keys of a recipe are searched, each trial a run, judged on the validation split alone.

space.py    what is searched: `train.lr=loguniform(1e-5, 1e-2)`, checked against the recipe before anything runs
study.py    the study file and who works on which trial: several processes at once, any of them killed
stopping.py which trial is ended early
cost.py     size and latency of the model as it would be exported, before it is trained
trial.py    one trial: a run directory
results.py  the table, the Pareto front and the best recipe
run.py      the loop
"""
