"""Cases made, not given: complete DICOM sets of known content."""
