"""People whom a recommender never saw: their vectors are learned on the device, in each runtime, without torch.

    python benchmarks/strangers.py --out DIR [--users 100]

`EDGEFT_DATA` names the folder with the data. The recipe of examples/recommend is tuned on MovieLens latest-small without
`--users` of its users, drawn by seed. Each of these then gives all their ratings but the latest to `edgeft personalize`,
which holds back a quarter of them to judge itself. The figure is HR@10 of that latest film, which nothing else has seen,
among 99 that they never rated, five draws each; its interval is a bootstrap over people. The ceiling is the same recipe
tuned on the host with these people among the others.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
from pathlib import Path
from typing import Any

import common
import numpy as np

from edgeft.measure.stats import paired_bootstrap

EXAMPLE = common.HERE.parent / "examples" / "recommend" / "recipe.toml"
SETTINGS = ["personalize.tail=user", "personalize.steps=100", "personalize.rate=0.02"]
SEED = 0
#: so few films teach nothing
FEWEST = 5


def divided(root: Path, out: Path, users: int) -> tuple[Path, dict[str, list[str]]]:
    """The folder without some users, and the lines of each of those in order of time, as csv."""
    source, folder = root / "06_recommendation" / "ml-latest-small", out / "data"
    with (source / "ratings.csv").open(newline="") as file:
        head, *rows = list(csv.reader(file))

    names = sorted({row[0] for row in rows}, key=int)
    strangers = set(np.random.default_rng(SEED).permutation(names)[:users].tolist())
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "ratings.csv").open("w", newline="") as file:
        csv.writer(file).writerows([head, *(row for row in rows if row[0] not in strangers)])

    (folder / "movies.csv").write_bytes((source / "movies.csv").read_bytes())
    lines: dict[str, list[str]] = {}
    for row in sorted((row for row in rows if row[0] in strangers), key=lambda row: float(row[3])):
        lines.setdefault(row[0], []).append(",".join(row))

    return folder, {user: [",".join(head), *own] for user, own in sorted(lines.items(), key=lambda item: int(item[0]))}


def bundles(data: Path, folder: Path, settings: list[str]) -> list[Path]:
    import edgeft
    from edgeft.api import read_recipe

    run = folder / "run"
    if not (run / "summary.json").exists():
        targets = f"export.targets={json.dumps(list(common.TARGETS.values()))}"
        edgeft.tune(read_recipe(EXAMPLE, [f"data.path={data}", targets]), run, overwrite=True, say=print)

    lacking = [name for name in common.TARGETS.values() if not (folder / name / "manifest.json").exists()]
    if lacking:
        for report in edgeft.export(run, lacking, folder, overwrite=True, overrides=settings):
            print(report["target"], report["verdict"])

    return [folder / name for name in common.TARGETS.values()]


def tests(bundle: Any, lines: dict[str, list[str]]) -> dict[str, tuple[list[str], np.ndarray, np.ndarray]]:
    """{user: (known films in order of time, rows of films (R, C), where the latest of them stands in each)}."""
    from edgeft.personalize import users

    number, found = {name: at for at, name in enumerate(bundle.preprocess["items"])}, {}
    names = np.array(bundle.preprocess["items"])
    for user, own in lines.items():
        films = [line.split(",")[1] for line in own[1:] if line.split(",")[1] in number]
        if len(films) < FEWEST:
            continue
        every = np.array([number[film] for film in films])
        rng, rows, places = np.random.default_rng([SEED, int(user)]), [], []
        for _ in range(users.DRAWS):
            others = users.unseen(len(names), every, int(bundle.preprocess["candidates"]) - 1, rng)
            order = rng.permutation(len(others) + 1)
            rows.append(names[np.concatenate([every[-1:], others])[order]])
            places.append(int(np.flatnonzero(order == 0)[0]))
        found[user] = films, np.array(rows), np.array(places)

    return found


def hits(bundle: Any, session: Any, spec: dict[str, Any], user: str, rows: np.ndarray, places: np.ndarray) -> float:
    """HR@10 over one user's rows."""
    scores = np.concatenate(
        [next(iter(session.run(bundle.task.preprocess({"user": user, "items": row}, spec)).values())) for row in rows]
    )
    targets = np.stack([places, np.zeros_like(places), np.zeros_like(places)], axis=1)
    return float(bundle.task.score({"output": scores}, targets))


def learned(path: Path, lines: dict[str, list[str]], out: Path) -> dict[str, Any]:
    """Each person learned by a bundle: HR@10 before and after, what the gate said, and seconds of a learning."""
    import time

    import edgeft
    from edgeft.personalize import graphs, run, users
    from edgeft.personalize import plan as plans

    done = out / f"learned-{path.name}.json"
    if done.exists():
        return json.loads(done.read_text())

    bundle = edgeft.load(path)
    plan, rows = plans.of(bundle), []
    trunk, tail = (graphs.load(bundle, name) for name in ("trunk", "tail"))

    for user, (films, items, places) in tests(bundle, lines).items():
        state, data = out / f"{path.name}.npz", out / f"{path.name}.csv"
        state.unlink(missing_ok=True)
        kept = [line for line in lines[user][1:] if line.split(",")[1] != films[-1]]
        data.write_text("\n".join([lines[user][0], *kept]) + "\n")
        begun = time.perf_counter()
        found = edgeft.personalize(bundle, data, state=state)
        took = time.perf_counter() - begun
        spec = {**bundle.preprocess, "users": [*bundle.preprocess["users"], user]}
        number = len(spec["users"]) - 1
        mean = users.Ours(bundle.session(), trunk, tail, plan, spec, number, users.beginning(bundle, plan, user))
        before = hits(bundle, mean, spec, user, items, places)
        own = run.session(bundle, state) if state.exists() else None
        after = hits(bundle, own.session, own.preprocess, user, items, places) if own else before
        rows.append({"user": user, "films": len(films), "before": before, "after": after, "seconds": took})
        rows[-1] |= {"verdict": found["verdict"], "gate": [found["new"]["before"], found["new"]["after"]]}

    done.write_text(json.dumps(rows, indent=1))
    return json.loads(done.read_text())


def ceiling(path: Path, plain: Path, lines: dict[str, list[str]]) -> list[float]:
    """HR@10 on the same rows of a model that these people were among the users of."""
    import edgeft

    bundle, session = edgeft.load(plain), edgeft.load(plain).session()
    return [
        hits(bundle, session, bundle.preprocess, user, items, places)
        for user, (_, items, places) in tests(edgeft.load(path), lines).items()
    ]


def step_speed(path: str) -> dict[str, Any]:
    """In a process of its own: the runtime's step against torch eager on the same tail, in turns."""
    import torch
    from safetensors.torch import load_file

    import edgeft
    from edgeft.config import recipe, target
    from edgeft.measure.quads import compare
    from edgeft.personalize import graphs, users
    from edgeft.personalize import plan as plans
    from edgeft.quantize.parts import insert_parts
    from edgeft.session.session import open_session
    from edgeft.tasks.recommend import learning as recommend
    from edgeft.training_step import cut, user_vectors

    torch.set_num_threads(1)
    bundle, folder = edgeft.load(path), Path(path).parent
    plan = plans.of(bundle)
    session = open_session(recipe.load(folder / "run" / "recipe.toml"))
    session.built.module.load_state_dict(load_file(folder / "run" / "float.safetensors"))
    scheme = target.load(Path(path).name).scheme
    parts = insert_parts(session.capture(session.built.module), scheme, session.recipe.quantize.keep_float)
    (graph,) = parts.graphs.values()
    opened, tables = user_vectors.opened(graph, bundle.preprocess["user_input"])
    tail = cut.cut(opened, tables, tables).tail
    catalogue = users.Catalogue(graphs.load(bundle, "trunk"), plan, bundle.preprocess)
    taken = users.Taken("nobody", np.arange(40))
    latents, targets = users.batches(taken, plan, bundle, catalogue, 0)()
    start, step = users.beginning(bundle, plan, "nobody"), graphs.load(bundle, "step")
    feeds = graphs.step_feeds(plan, start, graphs.fresh_state(plan), latents, targets)
    feeds["rate"] = np.full(1, plan.rate, np.float32)
    parameters = [torch.nn.Parameter(torch.from_numpy(p.copy())) for p in start]
    optimizer = torch.optim.SGD(parameters, lr=plan.rate, momentum=0.9)
    seen = [torch.from_numpy(graphs.real(v, one)) for v, one in zip(latents, plan.latents)]
    truth = torch.from_numpy(targets)

    def eager() -> None:
        optimizer.zero_grad()
        recommend.loss(tail(*seen, *parameters)[0], truth).backward()
        optimizer.step()

    found = compare(eager, lambda: step.run(feeds), max_seconds=8.0)
    return {"ratio": 1 / found.estimate, "ci99": [1 / found.high, 1 / found.low], "batch": plan.batch}


def section(found: dict[str, list[dict[str, Any]]], best: list[float], speed: dict[str, Any]) -> str:
    cells = []
    for runtime, rows in found.items():
        before, after = (np.array([row[key] for row in rows]) for key in ("before", "after"))
        gains = after - before
        low, high = paired_bootstrap(lambda at, gains=gains: float(gains[at].mean()), len(rows), seed=SEED)
        kept = [row["verdict"] == "pass" for row in rows]
        one = speed[runtime]
        cells.append(
            [
                common.RUNTIMES[runtime],
                len(rows),
                f"{before.mean():.3f}",
                f"{after.mean():.3f}",
                f"{gains.mean():+.3f} [{low:+.3f}, {high:+.3f}]",
                f"{sum(kept)} of {len(kept)}",
                f"{np.median([row['seconds'] for row in rows]):.2f}",
                f"{one['ratio']:.2f} [{one['ci99'][0]:.2f}, {one['ci99'][1]:.2f}]",
            ]
        )

    head = ["runtime", "people", "HR@10 before (mean of all vectors)", "after", "gain [95 %]", "kept by the gate"]
    head += ["seconds, median", "a step, times torch's speed"]
    return f"{common.table(head, cells)}\n\nTuned on the host with these people among the users: {np.mean(best):.3f}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder for runs and bundles (resumable)")
    parser.add_argument("--users", type=int, default=100)
    parser.add_argument("--step", help=argparse.SUPPRESS)
    asked = parser.parse_args()

    if asked.step:
        print(json.dumps(step_speed(asked.step)))
        return

    root, host = Path(os.environ["EDGEFT_DATA"]), common.machine()
    data, lines = divided(root, asked.out, asked.users)
    made = bundles(data, asked.out / "without", SETTINGS)
    plain = bundles(root / "06_recommendation" / "ml-latest-small", asked.out / "with", [])
    found = {backend: learned(path, lines, asked.out) for backend, path in zip(common.TARGETS, made)}
    speed = {backend: common.child(__file__, "--step", str(path)) for backend, path in zip(common.TARGETS, made)}
    best = ceiling(made[-1], plain[-1], lines)
    used = common.versions("torch", "onnxruntime", "openvino", "ai-edge-litert", "litert-torch", "numpy")
    text = (
        "## Personalization of a recommender\n\n"
        "MovieLens latest-small, neural matrix factorization tuned without these people. On the device each gives all "
        "their ratings but the latest; 100 steps learn their vectors (64 numbers) and a gate judges them on a quarter of "
        "what was given. HR@10 of the latest film among 99 never rated, five draws each; the interval is over people. A "
        f"learning is the whole call: read, sessions, catalogue, steps, judgement.\n\n{section(found, best, speed)}\n\n"
        f"{common.footing(host, used)}"
    )
    common.publish(
        "strangers", text, {"machine": host, "versions": used, "rows": found, "ceiling": best, "steps": speed}
    )


if __name__ == "__main__":
    main()
