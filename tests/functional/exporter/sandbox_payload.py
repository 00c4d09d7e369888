"""What a stranger's code would try from within the sandbox; run as a program that confines itself, without TensorFlow.

Arguments: its own directory, a file to read, a file outside, a directory outside, the port of a listener, the path of a
Unix socket, the number of a process. Prints what came of each attempt, as JSON: a failure's errno, or null.
"""

import ctypes
import errno
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from exporter import sandbox
from exporter.limits import Limits


def main() -> None:
    own, source, secret, outside, port, listener, victim = sys.argv[1:]
    other = int(victim)
    confined = sandbox.confine(Limits(), [Path(source)], Path(own))
    libc = ctypes.CDLL(None, use_errno=True)

    def done(result: int) -> None:
        if result < 0:
            raise OSError(ctypes.get_errno(), "denied")

    def connect(family: int, address: str | tuple[str, int]) -> None:
        with socket.socket(family, socket.SOCK_STREAM) as connection:
            connection.settimeout(5)
            connection.connect(address)
            connection.sendall(b"mark")

    def fork() -> None:
        if os.fork() == 0:
            os._exit(0)

    def thread() -> None:
        started = threading.Thread(target=lambda: None)
        started.start()
        started.join()

    def finish_checkpoint() -> None:
        (Path(own) / "a").mkdir()
        (Path(own) / "b").mkdir()
        (Path(own) / "a" / "part").write_text("weights")
        (Path(own) / "a" / "part").rename(Path(own) / "b" / "part")
        (Path(own) / "b" / "part").unlink()

    attempts: dict[str, Callable[[], object]] = {
        "connect": lambda: connect(socket.AF_INET, ("127.0.0.1", int(port))),
        "connect over IPv6": lambda: connect(socket.AF_INET6, ("::1", int(port))),
        "connect to a Unix socket": lambda: connect(socket.AF_UNIX, listener),
        "ring of system calls": lambda: done(libc.syscall(425, 8, ctypes.create_string_buffer(120))),
        "write outside": lambda: (Path(outside) / "mark").write_text("mark"),
        "truncate outside": lambda: os.truncate(secret, 0),
        "remove outside": lambda: Path(secret).unlink(),
        "link to outside": lambda: os.link(secret, Path(own) / "linked"),
        "make a symbolic link": lambda: (Path(own) / "symbolic").symlink_to(secret),
        "make a pipe": lambda: os.mkfifo(Path(own) / "pipe"),
        "read outside": lambda: Path(secret).read_text(),
        "list outside": lambda: list(Path(outside).iterdir()),
        "read another's environment": lambda: Path(f"/proc/{other}/environ").read_bytes(),
        "read another's memory": lambda: Path(f"/proc/{other}/mem").open("rb").close(),
        "trace another": lambda: done(libc.ptrace(16, other, None, None)),
        "kill another": lambda: os.kill(other, signal.SIGKILL),
        "kill all": lambda: os.kill(-1, signal.SIGKILL),
        "fork": fork,
        "spawn": lambda: os.posix_spawn("/usr/bin/touch", ["touch", str(Path(own) / "mark")], {}),
        "run": lambda: subprocess.run(["/usr/bin/touch", str(Path(own) / "mark")], check=True, timeout=10),
        "replace itself": lambda: os.execv("/usr/bin/touch", ["touch", str(Path(own) / "mark")]),  # noqa: S606
        "raise a limit": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (1 << 20, 1 << 20)),
        "allowed: read the source": lambda: Path(source).read_bytes(),
        "allowed: import late": lambda: __import__("sqlite3"),
        "allowed: start a thread": thread,
        "allowed: finish a checkpoint": finish_checkpoint,
        "allowed: signal itself": lambda: os.kill(os.getpid(), 0),
    }
    found: dict[str, int | None] = {}
    for name, attempt in attempts.items():
        try:
            attempt()
        except OSError as error:
            found[name] = error.errno or -1
        except ValueError as error:  # how setrlimit tells of EPERM
            found[name] = errno.EPERM if "not allowed" in str(error) else -1
        else:
            found[name] = None
    sys.stdout.write(json.dumps({"sandbox": confined.model_dump(), "variables": sorted(os.environ), "attempts": found}))


if __name__ == "__main__":
    main()
