"""Samplers: Eq. 5 to 8 and Algorithm 1.

A sampler takes `model(x, t) -> (eps, x0)`, the start x_T (already of standard deviation
`noise_std`), a falling `schedule` of L + 1 timesteps (usually T ... 0) and `draws`, standard
normal arrays of the shape of x_T: draws[i] belongs to step schedule[i] -> schedule[i + 1], whether
that step uses it or not, and the list may end after the last one used. It returns (states,
x0_predictions): L + 1 states beginning with x_T and ending with the sample, and L predictions.
"""

from itertools import pairwise

import numpy as np

from .diffusion import theta


def predictor_step(x_t, x0, eps, t, k, T):
    """Eq. 5 for unit steps: x_{t-k} = x_t - k d/dt (cos(beta_t) x0 + sin(beta_t) eps).

    x_t, x0, eps: one shape, returned. The gradient is over time, with x0 and eps held fixed.
    """
    dtheta_dt = np.pi / 2 / T
    gradient = dtheta_dt * (-np.sin(theta(t, T)) * x0 + np.cos(theta(t, T)) * eps)
    return x_t - k * gradient


def corrector_step(x_t_minus_k, z, t, k, T, noise_std):
    """Eq. 6 for unit steps: x_{t-1} = Gamma x_{t-k} + sqrt(1 - Gamma^2) eps'.

    Gamma = cos(beta_{t-1}) / cos(beta_{t-k}), eps' = noise_std * z. One shape, returned.
    """
    gamma = np.cos(theta(t - 1, T)) / np.cos(theta(t - k, T))
    return gamma * x_t_minus_k + np.sqrt(1 - gamma**2) * noise_std * z


def cold_sampling(model, x_T, schedule, T):
    """Algorithm 1 with k = 1: Eq. 5 from each timestep to the next, nothing corrected."""
    states, x0_predictions = [x_T], []
    for t, t_next in pairwise(schedule):
        x_t = states[-1]
        eps, x0 = model(x_t, t)
        states.append(predictor_step(x_t, x0, eps, t, k=t - t_next, T=T))
        x0_predictions.append(x0)
    return states, x0_predictions


def predictor_corrector_sampling(model, x_T, schedule, T, k, noise_std, draws):
    """Algorithm 1 for any real k >= 1.

    Where the predictor would land at or below 0 (always so in the last step), and where k = 1,
    the step is the plain one: straight from t to t', no noise.
    """
    states, x0_predictions = [x_T], []
    for i in range(len(schedule) - 1):
        t, t_next = schedule[i], schedule[i + 1]
        x_t = states[-1]
        eps, x0 = model(x_t, t)
        g = np.sin(theta(t, T)) * x0 - np.cos(theta(t, T)) * eps
        t_pred = t - k * (t - t_next)
        if k == 1 or t_pred <= 0:
            x_next = x_t - (theta(t_next, T) - theta(t, T)) * g
        else:
            x_pred = x_t - (theta(t_pred, T) - theta(t, T)) * g
            alpha = np.cos(theta(t_next, T)) / np.cos(theta(t_pred, T))
            sigma = np.sqrt(1 - alpha**2)
            x_next = alpha * x_pred + sigma * noise_std * draws[i]
        states.append(x_next)
        x0_predictions.append(x0)
    return states, x0_predictions


def x0_from_noise(x_t, eps, t, T):
    """A.6.3: x0 = (x_t - sin(theta) eps) / cos(theta). One shape, returned.

    theta is that of t = T - 1 for any later t, in the sine and the cosine both, because
    cos(theta(T)) = 0. Nothing is clipped.
    """
    angle = theta(min(t, T - 1), T)
    return (x_t - np.sin(angle) * eps) / np.cos(angle)


def _noise_only(model, T):
    """`model` with its own x0 thrown away and replaced by `x0_from_noise`."""

    def noise_only_model(x_t, t):
        eps, _ = model(x_t, t)
        return eps, x0_from_noise(x_t, eps, t, T)

    return noise_only_model


def noise_only_sampling(model, x_T, schedule, T, k, noise_std, draws):
    """Eq. 8: Algorithm 1 with x0 computed from eps; k = 1 is the noise-only cold sampler."""
    return predictor_corrector_sampling(
        _noise_only(model, T), x_T, schedule, T, k, noise_std, draws
    )


def conventional_step(x_t, eps, z, t, t_next, T, noise_std):
    """Eq. 7 from t to t_next, sqrt(a_t) = cos(beta_t). One shape; returns (x_{t_next}, x0).

    Only x0 uses the clamped angle; the weights of the three terms use the true one.
    """
    a_t, a_next = np.cos(theta(t, T)) ** 2, np.cos(theta(t_next, T)) ** 2
    sigma = np.sqrt((1 - a_next) / (1 - a_t)) * np.sqrt(1 - a_t / a_next)
    # At t = T the exact value is 0 and rounding can make it negative.
    eps_weight = np.sqrt(max(1 - a_next - sigma**2, 0.0))
    x0 = x0_from_noise(x_t, eps, t, T)
    return np.sqrt(a_next) * x0 + eps_weight * eps + sigma * noise_std * z, x0


def conventional_sampling(model, x_T, schedule, T, noise_std, draws):
    """Eq. 7 down the whole schedule: the ancestral 'hot' sampler (DDIM with eta = 1).

    Its step to t' = 0 has sigma = 0 but still needs a draw in the list.
    """
    states, x0_predictions = [x_T], []
    for i in range(len(schedule) - 1):
        t, t_next = schedule[i], schedule[i + 1]
        x_t = states[-1]
        eps, _ = model(x_t, t)
        x_next, x0 = conventional_step(x_t, eps, draws[i], t, t_next, T, noise_std)
        states.append(x_next)
        x0_predictions.append(x0)
    return states, x0_predictions
