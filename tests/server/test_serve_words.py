"""Words in JSON, and a state that changes beside the server: the bundles of tests/fixtures that can learn."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny_bundle
from served import form, serving

from edgeft.cli.entry import run
from edgeft.tasks import BUILTIN, get

FIXTURES = Path(__file__).parents[1] / "fixtures"
sys.path.append(str(Path(__file__).parents[1] / "personalize"))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pytest.importorskip("uvicorn", reason="pip install 'edgeft[serve]'")
    tiny_bundle.usable("litert")
    for name in ("people", "chirps"):
        shutil.copytree(FIXTURES / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def printed(capfd: pytest.CaptureFixture[str], *argv: str) -> dict[str, Any]:
    capfd.readouterr()
    run(["predict", *argv, "--json", "-q"])
    table: dict[str, Any] = json.loads(capfd.readouterr().out)
    return table


def test_words_and_a_json_file_of_a_recommender(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    users = json.loads((home / "people" / "manifest.json").read_text())["preprocess"]["users"]
    words = [f"{users[0]}:*", users[1]]
    (home / "ask.json").write_text(json.dumps({"user": users[2], "again": True}))
    with serving(Path("people"), cwd=home) as running:
        body = json.dumps({"inputs": words}).encode()
        assert running.predict(body, Content_Type="application/json") == (200, printed(capfd, "people", *words))
        body = json.dumps({"input": words[0]}).encode()
        assert running.predict(body, Content_Type="application/json") == (200, printed(capfd, "people", words[0]))
        body, kind = form(input=words[0])
        assert running.predict(body, Content_Type=kind) == (200, printed(capfd, "people", words[0]))

        asked = (home / "ask.json").read_bytes()
        answer = running.predict(asked, "/predict?name=ask.json", Content_Type="application/json")
        assert answer == (200, printed(capfd, "people", "ask.json"))

        # The command reads a file of that name; words of a client are a user's id and nothing else.
        body = json.dumps({"input": str(home / "ask.json")}).encode()
        status, table = running.predict(body, Content_Type="application/json")
        assert status == 422 and "knows no user" in table["message"]
        body = json.dumps({"input": "nobody"}).encode()
        assert running.predict(body, Content_Type="application/json") == (422, printed(capfd, "people", "nobody"))


def test_what_is_learned_meanwhile_is_used(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import new_sounds

    _, buzz = new_sounds.write(home)
    sound = next((buzz / "buzz").glob("*.wav"))
    name = sound.name
    shutil.copy(sound, home / name)
    with serving(Path("chirps"), cwd=home) as running:
        _, before = running.predict((home / name).read_bytes(), f"/predict?name={name}")
        assert "version" not in before["predictions"][0]
        assert run(["personalize", "chirps", "--data", str(buzz), "--json"]) == 0
        status, after = running.predict((home / name).read_bytes(), f"/predict?name={name}")
        assert (status, after) == (200, printed(capfd, "chirps", name))
        assert after["predictions"][0]["version"] == 1


@pytest.mark.parametrize("name", BUILTIN)
def test_words_open_no_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`parse` of each task that has one, given the name of a file, opens nothing."""
    task = get(name)
    if task.parse is None:
        return
    (tmp_path / "row.csv").write_text("a\n1\n")
    monkeypatch.chdir(tmp_path)
    column = {"name": "a", "kind": "number", "mean": 0.0, "std": 1.0, "missing": False}
    spec = {"kind": "columns", "size": [1], "input": "x", "columns": [column], "users": ["7"], "items": ["1", "2"]}
    spec["kind"] = "vector" if name.startswith("control") else "columns"

    opened: list[str] = []
    sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" and watching else None)
    watching = True
    try:
        task.parse("row.csv", spec)
    except Exception as error:
        assert type(error).__name__ == "DataError", error
    finally:
        watching = False
    assert not [path for path in opened if "row.csv" in path]
