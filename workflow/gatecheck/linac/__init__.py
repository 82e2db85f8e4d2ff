"""The machine: models as data; source, jaws and leaves as exact geometry."""
