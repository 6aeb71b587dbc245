"""The high-resolution wrapper and its consistency term (section 3.4, Figure 3, A.8)."""

import itertools

import numpy as np


def downsample_nearest(x, f):
    """(C, D, H, W) -> (C, D/f, H/f, W/f): the first voxel of each block of f^3.

    The centre of a block of even size lies between voxels, so 'nearest' needs a rule; this one
    is index floor(i f). No averaging: the variance of the noise is kept.
    """
    C, D, H, W = x.shape
    y = np.zeros((C, D // f, H // f, W // f))
    for d, h, w in itertools.product(range(D // f), range(H // f), range(W // f)):
        y[:, d, h, w] = x[:, d * f, h * f, w * f]
    return y


def upsample_nearest(x, f):
    """(C, D, H, W) -> (C, fD, fH, fW): every voxel repeated into a block of f^3."""
    C, D, H, W = x.shape
    y = np.zeros((C, D * f, H * f, W * f))
    for d, h, w in itertools.product(range(D * f), range(H * f), range(W * f)):
        y[:, d, h, w] = x[:, d // f, h // f, w // f]
    return y


def linear_neighbours(i, f, size):
    """The two (index, weight) on an axis of `size` voxels for voxel i of the axis f times finer.

    Half-pixel centres: voxel i sits at (i + 1/2)/f - 1/2. Outside the axis the edge is repeated.
    """
    position = (i + 0.5) / f - 0.5
    low = int(np.floor(position))
    weight = position - low
    return [(max(low, 0), 1 - weight), (min(low + 1, size - 1), weight)]


def upsample_trilinear(x, f):
    """(C, D, H, W) -> (C, fD, fH, fW): weighted sum of the eight surrounding voxels."""
    C, D, H, W = x.shape
    y = np.zeros((C, D * f, H * f, W * f))
    for d, h, w in itertools.product(range(D * f), range(H * f), range(W * f)):
        for (i, a), (j, b), (k, c) in itertools.product(
            linear_neighbours(d, f, D), linear_neighbours(h, f, H), linear_neighbours(w, f, W)
        ):
            y[:, d, h, w] += a * b * c * x[:, i, j, k]
    return y


def high_resolution_estimates(x_t, t, low_res_model, refiner, f):
    """Section 3.4: nearest down, low-resolution model, up, plus the refiner's residuals.

    x_t: noisy (C, D, H, W). low_res_model(x, t) and refiner(x_t, t) both return (eps, x0), the
    refiner's being residuals of the shape of x_t; it sees nothing but x_t and t. Returns
    (eps, x0, eps_low, x0_low), the first two (C, D, H, W), the others f times smaller per axis.
    """
    eps_low, x0_low = low_res_model(downsample_nearest(x_t, f), t)
    eps_residual, x0_residual = refiner(x_t, t)
    eps = upsample_nearest(eps_low, f) + eps_residual
    x0 = upsample_trilinear(x0_low, f) + x0_residual
    return eps, x0, eps_low, x0_low


def consistency_loss(eps, x0, eps_low, x0_low, f):
    """Section 3.4: mean squared error of the downsampled predictions against the low ones.

    eps, x0: (C, D, H, W); eps_low, x0_low: f times smaller per axis; returns a number. Ambiguous:
    the paper gives no formula, so which downsampling, signal or noise or both, and the weight.
    Here nearest (the only downsampling section 3.4 names), both, the terms added as in Eq. 3,
    unweighted. With no residual the noise term is 0, the signal term is not: trilinear followed
    by nearest is not the identity.
    """
    eps_error = np.mean((downsample_nearest(eps, f) - eps_low) ** 2)
    x0_error = np.mean((downsample_nearest(x0, f) - x0_low) ** 2)
    return x0_error + eps_error
