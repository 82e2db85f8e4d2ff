"""What a small change does to the dose, by simulating it with the same photons."""
