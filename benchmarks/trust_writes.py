"""Commands of which the n-th write, fsync or rename fails: each ends with exit code 6, or goes on, and nothing is lost.

    python benchmarks/trust_writes.py [--work DIR] [--most 40] [--only NAME...]

A small library in C is loaded before all others (LD_PRELOAD) and counts the calls of `write`, `pwrite`, `sendfile`, `fsync`,
`fdatasync`, `rename` and `unlink` that concern files below one folder, in all processes of the command; the one with the number n fails
with EIO, or it and all later ones with ENOSPC as on a full disk. What is left is judged as after a kill (trust_kills.py). Of
commands with more calls than `--most` so many are drawn evenly. What goes through C's own buffers (`fwrite`) is not counted.
Needs a C compiler, and model-signing (`edgeft sign --setup`). `--work` may be that of trust.py.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import common
import numpy as np
import trust
import trust_kills

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/types.h>
#include <unistd.h>

static long *counter(void) {
  static long *shared;
  const char *name = getenv("FAIL_COUNTER");
  if (!shared && name) {
    int handle = open(name, O_RDWR);
    void *place = handle < 0 ? MAP_FAILED : mmap(0, sizeof(long), PROT_READ | PROT_WRITE, MAP_SHARED, handle, 0);
    if (handle >= 0) close(handle);
    if (place != MAP_FAILED) shared = place;
  }
  return shared;
}

static int fails(const char *path) {
  const char *root = getenv("FAIL_BELOW"), *at = getenv("FAIL_AT"), *full = getenv("FAIL_FULL");
  long *calls = counter();
  if (!root || !at || !calls || strncmp(path, root, strlen(root))) return 0;
  long number = __atomic_add_fetch(calls, 1, __ATOMIC_SEQ_CST), wanted = atol(at);
  if (!wanted || (full ? number < wanted : number != wanted)) return 0;
  errno = full ? ENOSPC : EIO;
  return 1;
}

static int fails_at(int handle) {
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", handle);
  ssize_t size = readlink(link, path, sizeof path - 1);
  if (size <= 0) return 0;
  path[size] = 0;
  return fails(path);
}

static int fails_named(const char *name) {
  char folder[4096], path[8192];
  if (name[0] == '/') return fails(name);
  if (!getcwd(folder, sizeof folder)) return 0;
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return fails(path);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
ssize_t write(int f, const void *b, size_t n) { return fails_at(f) ? -1 : REAL(write)(f, b, n); }
ssize_t pwrite(int f, const void *b, size_t n, off_t o) { return fails_at(f) ? -1 : REAL(pwrite)(f, b, n, o); }
ssize_t pwrite64(int f, const void *b, size_t n, off64_t o) { return fails_at(f) ? -1 : REAL(pwrite64)(f, b, n, o); }
ssize_t sendfile(int o, int i, off_t *a, size_t n) { return fails_at(o) ? -1 : REAL(sendfile)(o, i, a, n); }
ssize_t sendfile64(int o, int i, off64_t *a, size_t n) { return fails_at(o) ? -1 : REAL(sendfile64)(o, i, a, n); }
int fsync(int f) { return fails_at(f) ? -1 : REAL(fsync)(f); }
int fdatasync(int f) { return fails_at(f) ? -1 : REAL(fdatasync)(f); }
int rename(const char *a, const char *b) { return fails_named(b) ? -1 : REAL(rename)(a, b); }
int unlink(const char *a) { return getenv("FAIL_FULL") || !fails_named(a) ? REAL(unlink)(a) : -1; }
"""


def library(folder: Path) -> Path:
    """The compiled library; raises `SystemExit` where there is no compiler."""
    made, source = folder / "failing.so", folder / "failing.c"
    source.write_text(SOURCE)
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        raise SystemExit("a C compiler is needed: install gcc")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", made, source, "-ldl"], check=True)
    return made


def failing(shim: Path, command: list[str], below: Path, at: int, full: bool) -> tuple[int, int, str]:
    """Run a command whose call number `at` below a folder fails (0: none): exit code, calls, and what it said."""
    with tempfile.NamedTemporaryFile() as counter:
        counter.write(bytes(8))
        counter.flush()
        setting = {"LD_PRELOAD": str(shim), "FAIL_COUNTER": counter.name, "FAIL_BELOW": str(below), "FAIL_AT": str(at)}
        environment = {**os.environ, **setting, **({"FAIL_FULL": "1"} if full else {})}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", check=False)
        return done.returncode, int.from_bytes(Path(counter.name).read_bytes(), "little"), done.stderr


def measured(name: str, base: trust_kills.Base, folder: Path, shim: Path, most: int) -> dict[str, Any]:
    """Every call of a command, or `most` of them, failing once with EIO and from there on with ENOSPC."""
    victim = trust_kills.COMMANDS[name](base, folder / "whole")
    code, calls, said = failing(shim, victim.command, victim.folder, 0, full=False)
    if code not in (0, 1, 5):
        raise SystemExit(f"{name} fails undisturbed:\n{said[-2000:]}")

    numbers = np.unique(np.linspace(1, calls, min(most, calls)).round().astype(int)).tolist()
    row: dict[str, Any] = {"calls": calls, "failed": 0, "told": 0, "went_on": 0, "faults": []}
    for number in numbers:
        for full in (False, True):
            victim = trust_kills.COMMANDS[name](base, folder / f"{number}-{int(full)}")
            code, _, said = failing(shim, victim.command, victim.folder, number, full)
            row["failed"] += 1
            row["told"] += code == 6
            row["went_on"] += code in (0, 1, 5)
            how = f"{number}{' full' if full else ''}"
            if code not in (0, 1, 5, 6) or "Traceback" in said:
                row["faults"].append(f"{how}: exit code {code}: {said.strip()[-300:]}")
            row["faults"] += [f"{how}{fault}" for fault in trust_kills.faults(name, victim)]
            shutil.rmtree(victim.folder, ignore_errors=True)

    return row


def section(rows: dict[str, dict[str, Any]], host: dict[str, Any], used: dict[str, str]) -> str:
    head = ["command", "calls", "made to fail", "ended with exit code 6", "went on", "faults"]
    body = [
        [name, *(str(row[key]) for key in ("calls", "failed", "told", "went_on")), str(len(row["faults"]))]
        for name, row in rows.items()
    ]
    faults = "".join(f"\n- {name}, call {fault}" for name, row in rows.items() for fault in row["faults"])

    return f"""## Writes that fail

Calls of `write`, `fsync`, `rename` and `unlink` below the folders of a command, made to fail one by one with EIO, and from there on
with ENOSPC. A fault is another exit code, a traceback, something lost or mixed, or something left that the next run does not sweep.

{common.table(head, body)}
{faults}
{common.footing(host, used)}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=None)
    parser.add_argument("--most", type=int, default=40)
    parser.add_argument("--only", nargs="*", choices=list(trust_kills.COMMANDS), default=list(trust_kills.COMMANDS))
    arguments = parser.parse_args()
    work = arguments.work or Path(tempfile.mkdtemp(prefix="trust-"))
    work.mkdir(parents=True, exist_ok=True)
    base, host, shim = trust.base(work), common.machine(), library(work)
    store = common.RESULTS / "trust_writes.json"
    rows = json.loads(store.read_text())["rows"] if store.exists() else {}

    for name in arguments.only:
        with tempfile.TemporaryDirectory(dir=work) as folder:
            rows[name] = measured(name, base, Path(folder).resolve(), shim, arguments.most)
        used = common.versions("torch", "onnxruntime", "numpy")
        common.publish("trust_writes", section(rows, host, used), {"rows": rows, "machine": host, "versions": used})


if __name__ == "__main__":
    main()
