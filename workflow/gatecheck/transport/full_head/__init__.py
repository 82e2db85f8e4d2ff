"""Full head: jaws and leaves as GATE volumes, source particles followed through them by Geant4. The reference, slow."""

from gatecheck.transport.full_head.simulate import run_full_head, simulate_full_head

__all__ = ["run_full_head", "simulate_full_head"]
