"""The same photons through something else: a delivery, a machine or a patient that differs a little."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gatecheck.delivery.model import Delivery
from gatecheck.delivery.storage import read_delivery
from gatecheck.files import sha256_of_file, sha256_of_json
from gatecheck.linac.model import LinacModel
from gatecheck.patient.model import Material
from gatecheck.transport.fast_head.sample import Aimed, sample_phase_space
from gatecheck.transport.model import Chunk, PhaseSpace


@dataclass(frozen=True, slots=True)
class Counterpart:
    """What a chunk's photons are sent through in place of what they were sampled for.

    Attributes
    ----------
    delivery_path : Path
        Of the other delivery.
    linac : LinacModel
        The machine, or the same with something changed.
    density_factor : float
        Times the densities of all of the patient's matter that is no gas; at most 1, so that photons can fly as they do
        in the patient itself.
    """

    delivery_path: Path
    linac: LinacModel
    density_factor: float = 1.0

    def inputs_sha256(self, of_plan: str, electron_steps: str | None = None) -> str:
        """Hash over all that decides the dose, from that of the plan whose photons are used.

        Parameters
        ----------
        electron_steps : str, optional
            Hash of the recorded steps that the plan's electrons take: with others the difference would be theirs, too.
        """
        machine = self.linac.model_dump(mode="json")
        of_all = [of_plan, sha256_of_file(self.delivery_path), machine, self.density_factor]
        return sha256_of_json(of_all if electron_steps is None else [*of_all, electron_steps])

    def phase_space_of(self, chunk: Chunk, delivery: Delivery, linac: LinacModel) -> PhaseSpace:
        """The photons that a chunk samples for a delivery and a machine, behind this machine's head."""
        return sample_phase_space(
            read_delivery(self.delivery_path), self.linac, chunk.histories, chunk.seed, aimed=Aimed(delivery, linac)
        )

    def materials_of(self, materials: Sequence[Material]) -> tuple[Material, ...]:
        """The patient's with their densities; gas stays what it is."""
        return tuple(
            one
            if one.density < LIGHTEST_TISSUE or self.density_factor == 1.0
            else one.model_copy(update={"density": one.density * self.density_factor})
            for one in materials
        )


LIGHTEST_TISSUE = 0.05
"""g/cm3: matter below is gas, whose density no CT number is asked for."""
