"""The command line: one verb per room, and verify."""

import os

# gatecheck shares its work out itself, among processes and threads. A BLAS that does so too keeps other threads
# waiting: a comparison took a fifth longer. Before numpy is imported, and over what Snakemake sets by a rule's threads.
os.environ["OPENBLAS_NUM_THREADS"] = "1"
