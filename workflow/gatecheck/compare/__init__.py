"""How far apart: dose-volume histograms, differences."""
