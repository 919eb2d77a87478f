"""Which mutants of cosmic-ray's session are tried, and which of them no test noticed: a part of scripts/mutation.

python scripts/mutants.py sample SESSION MOST SEED
python scripts/mutants.py test ROOM
python scripts/mutants.py report SESSION
"""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
from pathlib import Path

#: what a person would mistype: operators of the same kind, numbers, conditions, loops
KEPT = (
    *(
        "AddNot",
        "NumberReplacer",
        "ReplaceAndWithOr",
        "ReplaceOrWithAnd",
        "ReplaceTrueWithFalse",
        "ReplaceFalseWithTrue",
    ),
    *("ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "ZeroIterationForLoop", "RemoveDecorator"),
    *("ReplaceBinaryOperator_Add_Sub", "ReplaceBinaryOperator_Sub_Add", "ReplaceBinaryOperator_Mul_Div"),
    *("ReplaceBinaryOperator_Div_Mul", "ReplaceBinaryOperator_FloorDiv_Div", "ReplaceUnaryOperator_Delete_Not"),
    *("ReplaceUnaryOperator_Delete_USub", "ReplaceComparisonOperator_Eq_NotEq", "ReplaceComparisonOperator_NotEq_Eq"),
    *("ReplaceComparisonOperator_Lt_LtE", "ReplaceComparisonOperator_LtE_Lt", "ReplaceComparisonOperator_Gt_GtE"),
    *("ReplaceComparisonOperator_GtE_Gt", "ReplaceComparisonOperator_Is_IsNot", "ReplaceComparisonOperator_IsNot_Is"),
)
#: pytest's exit code where no test was chosen
_NONE_COLLECTED = 5
#: share of the mutants that may survive
MOST_SURVIVORS = 0.05


def sample(session: str, most: int, seed: int) -> None:
    """Leave `most` mutants of the kept kinds in the session, drawn by chance."""
    with sqlite3.connect(session) as db:
        rows = db.execute(
            "select job_id, operator_name from mutation_specs order by module_path, start_pos_row, job_id"
        )
        known = [job for job, operator in rows if operator.removeprefix("core/") in KEPT]
        chosen = set(random.Random(seed).sample(sorted(known), min(most, len(known))))
        jobs = [job for (job,) in db.execute("select job_id from work_items")]
        for job in jobs:
            if job not in chosen:
                db.execute("delete from mutation_specs where job_id = ?", (job,))
                db.execute("delete from work_items where job_id = ?", (job,))
    print(f"{len(chosen)} of {len(known)} mutants, seed {seed}")


def test(room: str) -> int:
    """Run the room's tests in the current checkout, those of the altered module first: most mutants end there."""
    altered = subprocess.run(["git", "diff", "--name-only"], capture_output=True, text=True, check=True).stdout.split()
    names = [Path(path).stem for path in altered]
    tests = sorted(Path("tests", room).glob("test_*.py"))
    nearest = [path for path in tests if any(name in path.stem for name in names)]

    pytest = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    for group in (nearest, [path for path in tests if path not in nearest]):
        code = subprocess.run([*pytest, *map(str, group)], check=False).returncode if group else 0
        if code not in (0, _NONE_COLLECTED):  # a file of long tests alone notices nothing
            return code
    return 0


def report(session: str) -> int:
    """Print the survivors with their changes; 1 where they are too many."""
    query = (
        "select s.module_path, s.start_pos_row, s.operator_name, r.test_outcome, r.diff "
        "from mutation_specs s join work_results r on r.job_id = s.job_id"
    )
    with sqlite3.connect(session) as db:
        rows = db.execute(query).fetchall()

    survivors = [row for row in rows if str(row[3]).upper().endswith("SURVIVED")]
    for path, line, operator, _, diff in survivors:
        changes = [text for text in (diff or "").splitlines() if text[:1] in "+-" and text[:3] not in ("+++", "---")]
        print(f"{path}:{line} {operator.removeprefix('core/')}", *changes, sep="\n  ")

    share = len(survivors) / len(rows) if rows else 1.0
    print(f"{len(survivors)} of {len(rows)} mutants survived ({100 * share:.1f} %)")
    return int(share > MOST_SURVIVORS)


if __name__ == "__main__":
    if sys.argv[1] == "sample":
        sample(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    elif sys.argv[1] == "test":
        sys.exit(test(sys.argv[2]))
    else:
        sys.exit(report(sys.argv[2]))
