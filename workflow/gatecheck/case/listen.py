"""Receives studies by DICOM C-STORE from planning systems that are known, and answers C-ECHO."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pydicom.uid import CTImageStorage, RTDoseStorage, RTPlanStorage, RTStructureSetStorage
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, evt
from pynetdicom import _config as pynetdicom_settings
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from gatecheck.case.received import Kept, Studies
from gatecheck.config import ListenConfig
from gatecheck.errors import InputError, WriteError

logger = logging.getLogger(__name__)

_KINDS = {CTImageStorage: "CT", RTStructureSetStorage: "RTSTRUCT", RTPlanStorage: "RTPLAN", RTDoseStorage: "RTDOSE"}
_SUCCESS, _DUPLICATE, _OUT_OF_RESOURCES, _CANNOT_UNDERSTAND = 0x0000, 0x0111, 0xA700, 0xC000
# Rejected for good, by the service's user: the calling AE title is not known (PS3.8, 9.3.4).
_UNKNOWN_CALLER = (0x01, 0x01, 0x03)


@dataclass
class Listener:
    """Keeps what it is sent."""

    settings: ListenConfig
    studies: Studies
    refused: int = 0
    _server: Any = None

    @property
    def is_busy(self) -> bool:
        """Whether a sender is connected."""
        return self._server is not None and bool(self._server.active_associations)

    @contextmanager
    def listening(self) -> Iterator[int]:
        """Listen, in threads of its own, as long as the block runs; gives the port.

        Raises
        ------
        InputError
            When the address or the port cannot be listened at.
        """
        # Its log names whom files belong to.
        logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
        pynetdicom_settings.LOG_HANDLER_LEVEL = "none"
        entity = AE(ae_title=self.settings.ae_title)
        entity.require_called_aet = True
        for kind in _KINDS:
            entity.add_supported_context(kind, ALL_TRANSFER_SYNTAXES)
        entity.add_supported_context(Verification)
        handlers: list[Any] = [
            (evt.EVT_REQUESTED, self._asked),
            (evt.EVT_C_STORE, self._stored),
            (evt.EVT_C_ECHO, lambda event: _SUCCESS),
        ]
        try:
            place = (self.settings.address, self.settings.port)
            self._server = entity.start_server(place, block=False, evt_handlers=handlers)
        except OSError as error:
            raise InputError(
                f"listen: address {self.settings.address}, port {self.settings.port} cannot be used ({error.strerror})."
            ) from error
        try:
            yield int(self._server.socket.getsockname()[1])
        finally:
            entity.shutdown()

    def _asked(self, event: Any) -> None:
        """Refuse whom the configuration does not name, or from another address."""
        title = str(event.assoc.requestor.primitive.calling_ae_title).strip()
        address = self.settings.callers.get(title)
        if address is None or address not in {"*", event.assoc.requestor.address}:
            self.refused += 1
            logger.warning("an unknown caller was refused")
            event.assoc.acse.send_reject(*_UNKNOWN_CALLER)
            event.assoc.kill()

    def _stored(self, event: Any) -> int:
        try:
            dataset = event.dataset
            study, instance = str(dataset.StudyInstanceUID), str(dataset.SOPInstanceUID)
            kind = _KINDS[dataset.SOPClassUID]
            content = event.encoded_dataset()  # byte by byte as it was sent
        except (AttributeError, ValueError, TypeError, KeyError, NotImplementedError):
            logger.warning("a file that cannot be read was refused")
            return _CANNOT_UNDERSTAND
        try:
            kept = self.studies.keep(study, instance, content, kind=kind)
        except (OSError, WriteError) as error:
            logger.error("a file cannot be written (%s)", type(error).__name__)
            return _OUT_OF_RESOURCES
        if kept is Kept.DIFFERENT:
            logger.warning("a file with the UID of another, and another content, was refused")
            return _DUPLICATE
        return _SUCCESS
