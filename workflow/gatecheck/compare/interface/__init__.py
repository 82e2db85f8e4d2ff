"""Dose where the tumour meets the cord: by distance from the surface, along its normals, and what can be decided."""
