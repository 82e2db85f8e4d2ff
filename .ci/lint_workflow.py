"""Run `snakemake --lint`; a container for each rule is the one thing it may ask for."""

import subprocess
import sys

ACCEPTED = "    * Specify a conda environment or container for each rule"

result = subprocess.run([sys.executable, "-m", "snakemake", "--lint"], capture_output=True, text=True, check=False)
lines = (result.stdout + result.stderr).splitlines()
if not any(line.startswith("Lints for") for line in lines):
    sys.exit("snakemake --lint did not lint:\n" + "\n".join(lines[-20:]))
remarks = [line for line in lines if line.startswith("    * ") and not line.startswith(ACCEPTED)]
sys.stderr.write("".join(f"snakemake --lint: {remark.strip()}\n" for remark in remarks))
sys.exit(1 if remarks else 0)
