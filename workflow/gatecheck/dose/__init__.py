"""What it adds up to: Gy with a standard deviation in every voxel."""
