"""What the machine does: a plan becomes a timeline of machine states against meterset."""
