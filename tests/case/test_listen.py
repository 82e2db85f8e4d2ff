"""Studies received by C-STORE from DCMTK's storescu."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from pydicom import dcmread
from synthetic_dicom import SECRETS, DicomSet

from gatecheck.case.ingest import ingest
from gatecheck.case.received import Kept, Studies
from gatecheck.config import project_folder
from gatecheck.errors import InputError

QUIET = 2.0
needs_dcmtk = pytest.mark.skipif(
    shutil.which("storescu") is None or shutil.which("echoscu") is None, reason="DCMTK is not installed"
)


class Receiver:
    """`gatecheck listen` as a process."""

    def __init__(self, folder: Path, callers: dict[str, str]) -> None:
        self.folder = folder / "received"
        self._config = folder / "listen.yaml"
        settings = {"port": 0, "callers": callers, "quiet_seconds": QUIET}
        self._config.write_text(yaml.safe_dump({"listen": settings}), encoding="utf-8")
        self.start()

    def start(self) -> None:
        words = ["-m", "gatecheck.cli.main", "listen", str(self.folder), "--config", str(self._config)]
        self.process = subprocess.Popen(
            [sys.executable, "-u", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={"PYTHONPATH": str(project_folder() / "workflow"), "PATH": "/usr/bin:/bin"},
        )
        assert self.process.stdout is not None
        first = self.process.stdout.readline()
        assert "listening at 127.0.0.1" in first, first
        self.port = first.split("port ")[1].split(",")[0]

    def stop(self) -> str:
        self.process.send_signal(signal.SIGTERM)
        output, _ = self.process.communicate(timeout=30)
        return output

    def store(self, *files: Path, caller: str = "TPS", called: str = "GATECHECK") -> subprocess.CompletedProcess[str]:
        words = ["storescu", "-aet", caller, "-aec", called, "127.0.0.1", self.port, *map(str, files)]
        return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)

    def queued(self, count: int = 1, *, within: float = 30.0) -> list[Path]:
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            found = sorted((self.folder / "queue").iterdir())
            if len(found) >= count:
                return found
            time.sleep(0.2)
        return sorted((self.folder / "queue").iterdir())

    def kept(self) -> list[Path]:
        return sorted(self.folder.rglob("*.dcm"))


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    made = Receiver(tmp_path, {"TPS": "127.0.0.1", "OTHER": "*", "ELSEWHERE": "192.0.2.7"})
    yield made
    if made.process.poll() is None:
        made.process.kill()
        made.process.communicate()


def files_of(dicom_set: DicomSet) -> list[Path]:
    return sorted(dicom_set.folder.glob("*.dcm"))


@needs_dcmtk
def test_a_study_is_queued_when_it_is_complete_and_can_be_ingested(receiver: Receiver, dicom_set: DicomSet) -> None:
    files = files_of(dicom_set)
    assert receiver.store(*files).returncode == 0
    assert list((receiver.folder / "queue").iterdir()) == []  # not before it has been quiet for a while
    (study,) = receiver.queued()
    assert len(list(study.iterdir())) == len(files)
    sent = {str(dcmread(path).SOPInstanceUID) for path in files}
    assert {str(dcmread(path).SOPInstanceUID) for path in study.iterdir()} == sent
    by_file = ingest(dicom_set.folder, receiver.folder.parent / "by_file")
    by_network = ingest(study, receiver.folder.parent / "by_network")
    assert by_network.beams == by_file.beams
    output = receiver.stop()
    for secret in SECRETS:
        assert secret not in output
        assert not any(secret in str(path) for path in receiver.kept())


@needs_dcmtk
def test_it_answers_an_echo(receiver: Receiver) -> None:
    words = ["echoscu", "-aet", "TPS", "-aec", "GATECHECK", "127.0.0.1", receiver.port]
    assert subprocess.run(words, capture_output=True, timeout=30, check=False).returncode == 0


@needs_dcmtk
@pytest.mark.parametrize(
    ("caller", "called"), [("STRANGER", "GATECHECK"), ("ELSEWHERE", "GATECHECK"), ("TPS", "WRONG")]
)
def test_unknown_callers_are_refused(receiver: Receiver, dicom_set: DicomSet, caller: str, called: str) -> None:
    refused = receiver.store(files_of(dicom_set)[0], caller=caller, called=called)
    assert refused.returncode != 0
    assert "Rejected" in refused.stderr
    assert receiver.kept() == []


@needs_dcmtk
def test_two_senders_at_once(receiver: Receiver, dicom_set: DicomSet, tmp_path: Path) -> None:
    """Of two studies, each with files of its own."""
    second = DicomSet(tmp_path / "second")
    shutil.copytree(dicom_set.folder, second.folder)
    for number, path in enumerate(files_of(second)):
        file = dcmread(path)
        file.StudyInstanceUID, file.SOPInstanceUID = "2.25.99", f"2.25.100{number}"
        file.file_meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID
        file.save_as(path)
    senders = [
        subprocess.Popen(["storescu", "-aet", title, "-aec", "GATECHECK", "127.0.0.1", receiver.port, *map(str, files)])
        for title, files in (("TPS", files_of(dicom_set)), ("OTHER", files_of(second)))
    ]
    assert [sender.wait(timeout=60) for sender in senders] == [0, 0]
    studies = receiver.queued(2)
    assert [len(list(study.iterdir())) for study in studies] == [len(files_of(second))] * 2


@needs_dcmtk
def test_what_was_received_survives_a_kill_and_a_dropped_association(receiver: Receiver, dicom_set: DicomSet) -> None:
    files = files_of(dicom_set)
    half = len(files) // 2
    assert receiver.store(*files[:half]).returncode == 0
    # An association request, and nothing more: the sender's cable is pulled.
    dropped = socket.create_connection(("127.0.0.1", int(receiver.port)))
    dropped.sendall(b"\x01\x00\x00\x00\x00\xcc")
    dropped.close()
    receiver.process.kill()
    receiver.process.communicate()
    assert len(receiver.kept()) == half
    receiver.start()
    assert receiver.store(*files[half:]).returncode == 0
    (study,) = receiver.queued()
    assert len(list(study.iterdir())) == len(files)


@needs_dcmtk
def test_nothing_is_overwritten(receiver: Receiver, dicom_set: DicomSet) -> None:
    plan = dicom_set.file("RTPLAN")
    assert receiver.store(plan).returncode == 0
    assert receiver.store(plan).returncode == 0  # the same again is no error
    before = receiver.kept()[0].read_bytes()
    dicom_set.edit("RTPLAN", lambda file: setattr(file, "RTPlanLabel", "changed"))
    receiver.store(plan)
    (kept,) = receiver.kept()
    assert kept.read_bytes() == before
    assert "another content, was refused" in receiver.stop()


def test_a_study_that_lacks_something_or_with_a_sender_still_connected_waits(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    studies = Studies(tmp_path, 60.0, clock=lambda: now[0])
    assert studies.keep("1.2", "1.2.1", b"image", kind="CT") is Kept.NEW
    assert studies.keep("1.2", "1.2.3", b"structures", kind="RTSTRUCT") is Kept.NEW
    now[0] = 1000.0
    assert studies.queue_complete() == []
    assert studies.queue_complete() == []
    assert caplog.text.count("it is quiet, and has no RTPLAN") == 1
    assert studies.keep("1.2", "1.2.2", b"plan", kind="RTPLAN") is Kept.NEW
    now[0] = 1059.0
    assert studies.queue_complete() == []
    now[0] = 1061.0
    assert studies.queue_complete(is_busy=True) == []
    (first,) = studies.queue_complete()
    assert sorted(path.read_bytes() for path in first.iterdir()) == [b"image", b"plan", b"structures"]
    for uid, kind in (("1.2.1", "CT"), ("1.2.3", "RTSTRUCT"), ("1.2.2", "RTPLAN")):
        studies.keep("1.2", uid, b"again", kind=kind)
    now[0] = 2000.0
    (again,) = studies.queue_complete()
    assert again.name == f"{first.name}-2"


def test_a_study_that_cannot_be_moved_does_not_stop_the_others(tmp_path: Path) -> None:
    now = [0.0]
    studies = Studies(tmp_path, 60.0, clock=lambda: now[0])
    for study in ("1.2", "1.3"):
        for uid, kind in (("1", "CT"), ("3", "RTSTRUCT"), ("2", "RTPLAN")):
            studies.keep(study, f"{study}.{uid}", b"content", kind=kind)
    (folder, _) = sorted((tmp_path / "incoming").iterdir())
    shutil.rmtree(folder)
    now[0] = 61.0
    assert len(studies.queue_complete()) == 1


def test_a_study_left_by_an_earlier_run_is_taken_up_without_what_was_half_written(tmp_path: Path) -> None:
    now = [0.0]
    earlier = Studies(tmp_path, 60.0, clock=lambda: now[0])
    for uid, kind in (("1.2.1", "CT"), ("1.2.3", "RTSTRUCT"), ("1.2.2", "RTPLAN")):
        earlier.keep("1.2", uid, b"content", kind=kind)
    (study,) = (tmp_path / "incoming").iterdir()
    (study / ".half.dcm").write_bytes(b"pl")
    with pytest.raises(InputError, match="another gatecheck receives into this folder"):
        Studies(tmp_path, 60.0)
    assert (study / ".half.dcm").exists()
    earlier.give_back()
    later = Studies(tmp_path, 60.0, clock=lambda: now[0])
    now[0] = 61.0
    (queued,) = later.queue_complete()
    assert [path.read_bytes() for path in queued.iterdir()] == [b"content"] * 3
