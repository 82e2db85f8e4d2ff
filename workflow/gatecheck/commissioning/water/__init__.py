"""Dose in a water tank from tracked photons and a library of electrons' deposits: many fields, quickly."""
