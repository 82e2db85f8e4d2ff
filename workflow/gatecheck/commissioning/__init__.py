"""Is the machine right: a water tank's depth doses, profiles and output factors against beam data."""
