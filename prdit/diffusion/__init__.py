"""The diffusion process (Eq. 1) and its samplers (Eq. 5 to 8, Algorithm 1)."""
