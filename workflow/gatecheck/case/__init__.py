"""What was planned: a DICOM folder becomes one checked, pseudonymous Case."""
