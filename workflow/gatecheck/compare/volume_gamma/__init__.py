"""Gamma of the whole dose: a map each way, and pass rates with and without the part of noise."""
