"""Overlapping patches (section 3.1) and the Local Denoiser (Eq. 2 and A.5).

Weights are a plain dict; matrices are (out, in), d = C p^3, h the width of the time embedding,
m the hidden width of the SwiGLU:
  time.weight (d, h)                time.bias (d,)
  modulation.weight (6d, d)         modulation.bias (6d,)
  swiglu{1,2}.gate.weight (m, d)    swiglu{1,2}.gate.bias (m,)
  swiglu{1,2}.value.weight (m, d)   swiglu{1,2}.value.bias (m,)
  swiglu{1,2}.norm.weight (m,)      swiglu{1,2}.norm.bias (m,)
  swiglu{1,2}.out.weight (d, m)     swiglu{1,2}.out.bias (d,)
  out.weight (2 C s^3, d)           out.bias (2 C s^3,)
Rows of `out`: all of the signal (C, s, s, s), then all of the noise (C, s, s, s).
"""

import itertools

import numpy as np


def reflect(i, size):
    """Index i of a padded axis mapped into 0 .. size - 1 by mirroring about the edge voxel."""
    if i < 0:
        return -i
    if i >= size:
        return 2 * (size - 1) - i
    return i


def extract_patches(x, p, s):
    """Section 3.1: (C, D, H, W) -> (N, C, p, p, p), N = (D/s)(H/s)(W/s).

    Reflect padding of (p - s)/2 voxels. Patches are ordered with D slowest, then H, then W.
    """
    C, D, H, W = x.shape
    assert D % s == H % s == W % s == 0
    assert (p - s) % 2 == 0
    pad = (p - s) // 2
    patches = []
    for d0, h0, w0 in itertools.product(range(0, D, s), range(0, H, s), range(0, W, s)):
        patch = np.zeros((C, p, p, p))
        for c, i, j, k in itertools.product(range(C), range(p), range(p), range(p)):
            d, h, w = reflect(d0 + i - pad, D), reflect(h0 + j - pad, H), reflect(w0 + k - pad, W)
            patch[c, i, j, k] = x[c, d, h, w]
        patches.append(patch)
    return np.stack(patches)


def reassemble(patches, size_DHW):
    """Section 3.1: non-overlapping (N, C, s, s, s), D slowest, -> (C, D, H, W)."""
    _, C, s, _, _ = patches.shape
    D, H, W = size_DHW
    x = np.zeros((C, D, H, W))
    corners = itertools.product(range(0, D, s), range(0, H, s), range(0, W, s))
    for patch, (d, h, w) in zip(patches, corners, strict=True):
        x[:, d : d + s, h : h + s, w : w + s] = patch
    return x


def silu(z):
    """z / (1 + exp(-z)), any shape."""
    return z / (1 + np.exp(-z))


def layer_norm(z, eps):
    """Zero mean and unit (biased) variance along the last axis, no affine; any shape."""
    mean = z.mean(axis=-1, keepdims=True)
    variance = ((z - mean) ** 2).mean(axis=-1, keepdims=True)
    return (z - mean) / np.sqrt(variance + eps)


def linear(z, w, name):
    """(..., in) -> (..., out) with the weights `name`.weight and `name`.bias."""
    return z @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def swiglu(z, w, name):
    """SwiGLU of Eq. 2, normed inside: W_2 LN_affine(silu(W_g z) * (W_x z)). (N, d) -> (N, d)."""
    hidden = silu(linear(z, w, f"{name}.gate")) * linear(z, w, f"{name}.value")
    hidden = layer_norm(hidden, 1e-5) * w[f"{name}.norm.weight"] + w[f"{name}.norm.bias"]
    return linear(hidden, w, f"{name}.out")


def local_time_embedding(c, w):
    """A.5: c_local = W_c c + b_c. (h,) -> (d,)."""
    return linear(c, w, "time")


def local_denoiser(v, c_local, w):
    """Eq. 2 and A.5 on vectorised noisy patches. v: (N, d), c_local: (d,).

    Returns (eps, x0), each (N, C s^3). The skip adds the noisy v, as in section 3.1 (A.5 drops
    the t). Modulation is (1 + scale) LN(.) + shift, and the third pair has no LN.
    """
    m = linear(silu(c_local), w, "modulation")
    shift1, scale1, shift2, scale2, shift3, scale3 = np.split(m, 6)
    z1 = swiglu(layer_norm(v, 1e-6) * (1 + scale1) + shift1, w, "swiglu1")
    z2 = swiglu(layer_norm(z1, 1e-6) * (1 + scale2) + shift2, w, "swiglu2")
    y = (z2 + v) * (1 + scale3) + shift3
    x0, eps = np.split(linear(y, w, "out"), 2, axis=-1)
    return eps, x0


def local_denoiser_volume(x_t, c, w, p, s):
    """Section 3.1 whole: patches, Local Denoiser, reassembly. x_t: (C, D, H, W), c: (h,).

    Returns (eps, x0), each (C, D, H, W).
    """
    C, *size_DHW = x_t.shape
    patches = extract_patches(x_t, p, s)
    v = patches.reshape(len(patches), -1)
    eps, x0 = local_denoiser(v, local_time_embedding(c, w), w)
    shape = (len(patches), C, s, s, s)
    return reassemble(eps.reshape(shape), size_DHW), reassemble(x0.reshape(shape), size_DHW)
