"""Photons through the patient without a stop at voxel faces; the electrons they set free are GATE's."""

from gatecheck.transport.photon_tracker.track import Roulette, TrackedPhotons, track_photons

__all__ = ["Roulette", "TrackedPhotons", "track_photons"]
