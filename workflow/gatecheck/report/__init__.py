"""What people read: the second-check report."""
