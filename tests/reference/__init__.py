"""A slow NumPy (float64) reference of the PRDiT equations, kept as the oracle of the torch code.

Written from the paper's text alone (sections 3.1-3.4, A.5, A.6, A.8) and from the recorded
decisions where that text is silent or contradicts itself; it shares no code with `prdit`.
One function is one equation. Volumes are (C, D, H, W) without a batch axis. Angles are radians.
`T` is the number of timesteps, `t` a real timestep in [0, T], `z` always a standard normal draw.
"""
