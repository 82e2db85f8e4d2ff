"""The container's definition file carried out on a bare Debian, where there is no Apptainer: in a root folder."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("debootstrap", "chroot", "unshare")
NOBODY = 65534
_FOLDERS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Python of the release that the definition names; Debian's own keeps pip from its packages, an image's does not.
_PACKAGES = "python3,python3-pip,python-is-python3,ca-certificates"
_PIP = {"PIP_BREAK_SYSTEM_PACKAGES": "1"}
_HOSTS_FILES = ("/etc/resolv.conf", "/etc/hosts", "/etc/pip.conf", "/etc/ssl/certs/ca-certificates.crt")


def why_not() -> str:
    """Why no image can be made here; empty when one can."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=_FOLDERS) is None]
    if missing:
        return f"{', '.join(missing)} not installed (apt-get install debootstrap)"
    return "" if os.geteuid() == 0 else "only root can make a root folder"


def sections_of(definition: Path) -> dict[str, str]:
    """Header and sections of a definition file, by name; the header's is empty."""
    parts = re.split(r"^%(\w+)\n", definition.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {"": parts[0]} | dict(zip(parts[1::2], parts[2::2], strict=True))


@dataclass(frozen=True)
class Image:
    """What a definition file makes.

    Attributes
    ----------
    root : Path
        A Debian.
    sections : dict of str to str
        Of the definition file.
    folders : tuple of Path
        Of this machine, bound at the same place.
    """

    root: Path
    sections: Mapping[str, str]
    folders: tuple[Path, ...] = ()

    def build(self, project: Path) -> None:
        """Debian of the header's release, the files, and what is to be done after."""
        release = re.search(r"-(\w+)$", self.sections[""].strip())
        assert release is not None, "From: names no release of Debian"
        _call("debootstrap", "--variant=minbase", f"--include={_PACKAGES}", release[1], str(self.root))
        for source, target in map(str.split, self.sections["files"].strip().splitlines()):
            self._copy(project / source, target)
        for name in _HOSTS_FILES:
            if Path(name).exists():
                self._copy(Path(name), name)
        self.run(self.sections["post"], user=0, environment=_PIP | _of_pip(), writable=True)

    def execute(self, *words: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Run as Apptainer does: as a user who may write to no part of the image but /tmp."""
        script = f"{self.sections['environment']}\nset -- {shlex.join(words)}\n{self.sections['runscript']}"
        return self.run(script, user=NOBODY, environment=environment)

    def run(
        self, script: str, *, user: int, environment: Mapping[str, str], writable: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """A shell's script inside."""
        (self.root / "script.sh").write_text(script, encoding="utf-8")
        root = shlex.quote(str(self.root))
        mounts = [
            f"mount --bind {root} {root}",
            *([] if writable else [f"mount -o remount,ro,bind {root}"]),
            f"mount -t proc proc {root}/proc",
            f"mount --rbind /dev {root}/dev",
            f"mount -t tmpfs -o mode=1777 tmpfs {root}/tmp",
            *(self._bind(one) for one in self._bound()),
        ]
        variables = [f"{name}={value}" for name, value in ({"PATH": _FOLDERS} | dict(environment)).items()]
        inside = shlex.join(
            ["chroot", f"--userspec={user}:{user}", str(self.root), "env", "-i", *variables, "sh", "-e", "/script.sh"]
        )
        return _call("unshare", "--mount", "--pid", "--fork", "sh", "-ec", "\n".join([*mounts, f"exec {inside}"]))

    def _bound(self) -> list[Path]:
        links = [Path(one) for one in os.environ.get("PIP_FIND_LINKS", "").split() if Path(one).is_dir()]
        for one in (*links, *self.folders):
            (self.root / one.relative_to("/")).mkdir(parents=True, exist_ok=True)
        return [*links, *self.folders]

    def _bind(self, folder: Path) -> str:
        target = f"{self.root}{folder}"  # some are in /tmp, which is another here
        return f"mkdir -p {shlex.quote(target)}; mount --bind {shlex.quote(str(folder))} {shlex.quote(target)}"

    def _copy(self, source: Path, target: str) -> None:
        to = self.root / target.lstrip("/")
        to.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, to, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, to)


def _of_pip() -> dict[str, str]:
    """How this machine's pip finds packages."""
    return {name: value for name, value in os.environ.items() if name.startswith("PIP_")}


def _call(*words: str) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(words, env=os.environ | {"PATH": _FOLDERS}, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{words[0]}: {result.stdout[-2000:]}\n{result.stderr[-4000:]}"
    return result
