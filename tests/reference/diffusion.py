"""The forward process and the training losses: Eq. 1, 3 and 4."""

import numpy as np


def theta(t, T):
    """Angle of timestep t in radians: pi/2 * t/T (beta_t of Eq. 5, theta(t) of Algorithm 1)."""
    return np.pi / 2 * t / T


def forward_process(x0, z, t, T, noise_std):
    """Eq. 1: x_t = cos(theta) x0 + sin(theta) eps.

    x0, z: any one shape. Returns (x_t, eps) of that shape. eps = noise_std * z is what the model
    is trained to predict: with any other target Eq. 1 could not be undone.
    """
    eps = noise_std * z
    x_t = np.cos(theta(t, T)) * x0 + np.sin(theta(t, T)) * eps
    return x_t, eps


def local_loss(x0_hat, eps_hat, x0, eps):
    """Eq. 3: mean squared error of the signal plus mean squared error of the noise.

    All of one shape; returns a number. The means are per voxel (A.9.2 says MSE), so the squared
    norms of Eq. 3 are divided by the voxels of a patch; the two terms are added, not averaged.
    """
    return np.mean((x0_hat - x0) ** 2) + np.mean((eps_hat - eps) ** 2)


def global_loss(x0_hat, eps_hat, x0_residual, eps_residual, x0, eps):
    """Eq. 4: the loss of Eq. 3 on the local estimates plus the global residuals. One shape."""
    return local_loss(x0_hat + x0_residual, eps_hat + eps_residual, x0, eps)
