"""A SLURM of one node on this machine, for tests: Debian's slurm-wlm and munge, no accounting."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "sinfo")
SYSTEM_FILE = Path("/etc/slurm/slurm.conf")
"""Where a job's own srun looks: SLURM_CONF does not reach it through Snakemake's plugin."""

_CORES = 4  # said to be there, whatever is: the first jobs of a plan go three at a time
_FOLDERS = "/usr/sbin:/usr/bin:/sbin:/bin"


def why_not() -> str:
    """Why no SLURM can be started here; empty when one can."""
    missing = [name for name in PROGRAMS if _program(name) is None]
    if missing:
        return f"{', '.join(missing)} not installed (apt-get install slurm-wlm munge)"
    if SYSTEM_FILE.exists():
        return f"this machine has a SLURM of its own ({SYSTEM_FILE})"
    return "" if os.geteuid() == 0 else "only root can start slurmd here"


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_FOLDERS}")


@dataclass
class Slurm:
    """One that runs.

    Attributes
    ----------
    folder : Path
        Configuration, state and logs.
    environment : dict of str to str
        That its commands need.
    """

    folder: Path
    environment: dict[str, str]
    daemons: dict[str, subprocess.Popen[bytes]]

    def command(self, *words: str) -> str:
        """What one of its commands prints."""
        program = _program(words[0])
        assert program is not None
        result = subprocess.run(
            [program, *words[1:]], env=self.environment, capture_output=True, text=True, check=True, timeout=60
        )
        return result.stdout

    def jobs(self) -> list[tuple[str, str, str]]:
        """Number, state and name of each job in the queue."""
        lines = self.command("squeue", "--noheader", "--format", "%i|%T|%j|%k").splitlines()
        return [
            (number, state, f"{name} {comment}") for number, state, name, comment in (x.split("|", 3) for x in lines)
        ]

    def start(self, name: str) -> None:
        """Start one of its daemons."""
        words = ["-D", "-f", f"{self.folder}/slurm.conf"]
        if name == "munged":
            files = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munged.pid"}
            files |= {"log-file": "munged.log", "seed-file": "munged.seed"}
            words = ["--foreground", "--force", *(f"--{key}={self.folder}/{file}" for key, file in files.items())]
        program = _program(name)
        assert program is not None
        with (self.folder / f"{name}.out").open("ab") as log:
            self.daemons[name] = subprocess.Popen(
                [program, *words], env=self.environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def kill(self, name: str) -> None:
        """kill -9 of one of its daemons, and of the node's jobs with it where it is slurmd."""
        daemon = self.daemons.pop(name)
        stray = psutil.Process(daemon.pid).children(recursive=True) if daemon.poll() is None else []
        for process in (*stray, daemon):
            with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                process.send_signal(signal.SIGKILL)
        daemon.wait()

    def wait_for(self, state: str, seconds: float = 60.0) -> None:
        """Wait until its node is in a state."""
        deadline = time.monotonic() + seconds
        found = ""
        while time.monotonic() < deadline:
            with contextlib.suppress(subprocess.CalledProcessError):
                found = self.command("sinfo", "--noheader", "--format", "%T").strip()
                if found.startswith(state):
                    return
            time.sleep(0.5)
        raise AssertionError(f"the node is {found or 'not there'}, not {state}: see {self.folder}")


@contextlib.contextmanager
def slurm(folder: Path) -> Iterator[Slurm]:
    """Start one, and end it with all that it started."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    for name in ("state", "spool"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o400)
    (folder / "slurm.conf").write_text(_configuration(folder), encoding="ascii")
    SYSTEM_FILE.unlink(missing_ok=True)  # a link that an earlier test left to a folder that is gone
    SYSTEM_FILE.parent.mkdir(exist_ok=True)
    SYSTEM_FILE.symlink_to(folder / "slurm.conf")
    environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}
    environment["PATH"] = f"{environment.get('PATH', '')}:{_FOLDERS}"
    here = Slurm(folder, environment, {})
    try:
        here.start("munged")
        time.sleep(1.0)
        here.start("slurmctld")
        here.start("slurmd")
        here.wait_for("idle")
        yield here
    finally:
        with contextlib.suppress(subprocess.SubprocessError):
            for number, _, _ in here.jobs():
                here.command("scancel", number)
        for name in list(here.daemons):
            here.kill(name)
        SYSTEM_FILE.unlink(missing_ok=True)


def _configuration(folder: Path) -> str:
    host = socket.gethostname().split(".")[0]
    memory = psutil.virtual_memory().total // 2**20 - 500
    return f"""ClusterName=gatecheck
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SlurmUser=root
SlurmdUser=root
SlurmctldPort={_free_port()}
SlurmdPort={_free_port()}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
SlurmdTimeout=10
KillWait=2
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs={_CORES} RealMemory={memory} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
