"""What Windows lacks, taken from this system: put the folder on PYTHONPATH, and every process of a test is without it.

It hides modules and functions, and lets folders not be opened. It does not make `/` a `\\`, nor files undeletable, and
`os.uname` stays, since numpy for Linux asks it.
"""

import builtins
import os
import pathlib
import signal
import subprocess  # noqa: F401 (binds what it needs of the system before that is hidden)
import sys

for name in ("fcntl", "resource", "termios", "pwd", "grp", "pty", "tty", "syslog", "readline", "crypt"):
    sys.modules[name] = None  # type: ignore[assignment]

for name in (
    *("fork", "forkpty", "killpg", "getpgid", "setsid", "setpgid", "sched_getaffinity", "sched_setaffinity"),
    *("sysconf", "statvfs", "getloadavg", "geteuid", "getuid", "getgid", "fchmod", "fchown", "chown", "mkfifo", "nice"),
    *(
        "O_NOFOLLOW",
        "O_DIRECTORY",
        "O_NONBLOCK",
        "O_CLOEXEC",
        "wait3",
        "wait4",
        "posix_fadvise",
        "pread",
        "register_at_fork",
    ),
):
    if hasattr(os, name):
        delattr(os, name)

for name in ("SIGALRM", "alarm", "setitimer", "SIGHUP", "SIGCHLD", "SIGUSR1", "SIGPIPE", "SIGQUIT", "pthread_sigmask"):
    if hasattr(signal, name):
        delattr(signal, name)

_open, _os_open = builtins.open, os.open


def _hidden(path: object) -> bool:
    return isinstance(path, (str, os.PathLike)) and os.fspath(path).startswith(("/proc/", "/sys/"))  # type: ignore[arg-type]


def _no_proc(path, *rest, **options):  # type: ignore[no-untyped-def]
    if _hidden(path):
        raise FileNotFoundError(2, "No such file or directory", str(path))
    return _open(path, *rest, **options)


def _no_folder(path, *rest, **options):  # type: ignore[no-untyped-def]
    if _hidden(path):
        raise FileNotFoundError(2, "No such file or directory", str(path))
    if not isinstance(path, int) and os.path.isdir(path):
        raise PermissionError(13, "Permission denied", str(path))
    return _os_open(path, *rest, **options)


builtins.open = _no_proc  # type: ignore[assignment]
os.open = _no_folder
pathlib.io.open = _no_proc  # type: ignore[attr-defined]
