"""Biologically effective dose: EQD2 and BED with their standard deviation, with earlier courses, against limits."""
