"""What the beam meets: materials and densities on a fine grid and a coarse one."""
