"""Electrons and positrons by steps that Geant4 made before, in matter alike."""
