"""The Monte Carlo: fast head, GATE simulation of the patient, chunks."""
