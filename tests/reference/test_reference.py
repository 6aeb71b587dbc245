"""Sanity tests of the reference itself: properties that follow from the mathematics alone."""

import numpy as np
import pytest

from . import diffusion, high_resolution, model, sampling

T = 200
SCHEDULE = list(range(T, -1, -1))


def perfect_model(x0):
    """Knows x0 and, for t > 0, the only eps that explains x_t."""

    def predict(x_t, t):
        angle = diffusion.theta(t, T)
        return (x_t - np.cos(angle) * x0) / np.sin(angle), x0

    return predict


def start_and_draws(seed, noise_std, shape=(1, 4, 4, 4)):
    rng = np.random.default_rng(seed)
    x_T = noise_std * rng.standard_normal(shape)
    return rng.uniform(-1, 1, shape), x_T, list(rng.standard_normal((T, *shape)))


@pytest.mark.parametrize("noise_std", [0.5, 1.0])
@pytest.mark.parametrize("k", [1, 1.5, 2.5, 3, 4])
def test_perfect_model_recovers_x0(k, noise_std):
    x0, x_T, draws = start_and_draws(0, noise_std)
    states, predictions = sampling.predictor_corrector_sampling(
        perfect_model(x0), x_T, SCHEDULE, T, k, noise_std, draws
    )
    assert len(states) == T + 1
    assert len(predictions) == T
    np.testing.assert_allclose(states[-1], x0, atol=1e-4)


@pytest.mark.parametrize("k", [1, 2.5, 4])
def test_algorithm_1_keeps_the_law_of_the_forward_process_on_the_way(k):
    noise_std = 0.5
    _, x_T, draws = start_and_draws(15, noise_std, shape=(20, 20, 20))
    states, _ = sampling.predictor_corrector_sampling(
        perfect_model(0.7), x_T, SCHEDULE, T, k, noise_std, draws
    )
    for t in (150, 100, 50, 10):
        angle = diffusion.theta(t, T)
        assert states[T - t].mean() == pytest.approx(0.7 * np.cos(angle), abs=0.02)
        assert states[T - t].std() == pytest.approx(noise_std * np.sin(angle), rel=0.03)


def test_cold_error_falls_with_the_step():
    x0, x_T, _ = start_and_draws(1, 1.0)
    errors = []
    for stride in (4, 2, 1):
        states, _ = sampling.cold_sampling(perfect_model(x0), x_T, SCHEDULE[::stride], T)
        errors.append(np.abs(states[-1] - x0).max())
    assert errors[0] > 1.8 * errors[1] > 1.8**2 * errors[2]


def test_algorithm_1_is_equations_5_and_6():
    x0, x_T, draws = start_and_draws(2, 0.5)
    predict, k, t = perfect_model(x0), 2.5, 100
    states, _ = sampling.predictor_corrector_sampling(predict, x_T, [t, t - 1], T, k, 0.5, draws)
    eps, x0 = predict(x_T, t)
    expected = sampling.predictor_step(x_T, x0, eps, t, k, T)
    expected = sampling.corrector_step(expected, draws[0], t, k, T, 0.5)
    np.testing.assert_allclose(states[1], expected, atol=1e-12)


def test_k_1_is_cold_and_needs_no_draws():
    x0, x_T, _ = start_and_draws(3, 1.0)
    cold, _ = sampling.cold_sampling(perfect_model(x0), x_T, SCHEDULE, T)
    k_1, _ = sampling.predictor_corrector_sampling(
        perfect_model(x0), x_T, SCHEDULE, T, 1, 1.0, draws=[]
    )
    np.testing.assert_allclose(cold[-1], k_1[-1], atol=1e-12)


def test_last_steps_are_plain():
    x0, x_T, draws = start_and_draws(4, 1.0)
    run = sampling.predictor_corrector_sampling
    # k = 3 lands at 0 from t = 3: the draws of 3 -> 2 -> 1 -> 0 are not read.
    full, _ = run(perfect_model(x0), x_T, SCHEDULE, T, 3, 1.0, draws)
    short, _ = run(perfect_model(x0), x_T, SCHEDULE, T, 3, 1.0, draws[:-3])
    np.testing.assert_array_equal(full[-1], short[-1])
    with pytest.raises(IndexError):
        run(perfect_model(x0), x_T, SCHEDULE, T, 3, 1.0, draws[:-4])


@pytest.mark.parametrize("noise_std", [0.5, 1.0])
def test_corrector_keeps_the_law_of_the_forward_process(noise_std):
    rng = np.random.default_rng(5)
    x0, t, k = np.full(400_000, 0.7), 120, 3
    x_pred, _ = diffusion.forward_process(x0, rng.standard_normal(x0.shape), t - k, T, noise_std)
    x = sampling.corrector_step(x_pred, rng.standard_normal(x0.shape), t, k, T, noise_std)
    angle = diffusion.theta(t - 1, T)
    assert x.mean() == pytest.approx(0.7 * np.cos(angle), abs=5e-3)
    assert x.std() == pytest.approx(noise_std * np.sin(angle), rel=5e-3)


@pytest.mark.parametrize(("t", "t_next"), [(T, T - 1), (150, 149), (60, 50), (1, 0)])
def test_conventional_step_keeps_the_law_of_the_forward_process(t, t_next):
    rng = np.random.default_rng(6)
    x0, noise_std = np.full(400_000, 0.7), 0.5
    x_t, eps = diffusion.forward_process(x0, rng.standard_normal(x0.shape), t, T, noise_std)
    z = rng.standard_normal(x0.shape)
    x, x0_hat = sampling.conventional_step(x_t, eps, z, t, t_next, T, noise_std)
    assert x.std() == pytest.approx(noise_std * np.sin(diffusion.theta(t_next, T)), abs=5e-3)
    if t < T:
        np.testing.assert_allclose(x0_hat, x0, atol=1e-9)
        assert x.mean() == pytest.approx(0.7 * np.cos(diffusion.theta(t_next, T)), abs=5e-3)


def test_conventional_noise_is_the_posterior_variance():
    t, t_next = 120, 100
    sigma, _ = sampling.conventional_step(0.0, 0.0, 1.0, t, t_next, T, 1.0)
    # Bayes: x_t = a x_{t_next} + noise of variance 1 - a^2, prior variance sin^2.
    a = np.cos(diffusion.theta(t, T)) / np.cos(diffusion.theta(t_next, T))
    precision = 1 / np.sin(diffusion.theta(t_next, T)) ** 2 + a**2 / (1 - a**2)
    assert sigma**2 == pytest.approx(1 / precision)


@pytest.mark.parametrize("k", [None, 1, 3])
def test_noise_only_samplers_recover_x0(k):
    x0, x_T, draws = start_and_draws(7, 1.0)
    if k is None:
        states, _ = sampling.conventional_sampling(perfect_model(x0), x_T, SCHEDULE, T, 1.0, draws)
    else:
        states, _ = sampling.noise_only_sampling(perfect_model(x0), x_T, SCHEDULE, T, k, 1.0, draws)
    np.testing.assert_allclose(states[-1], x0, atol=1e-4)


def test_loss_is_a_mean_per_voxel():
    zero = np.zeros((3, 1, 2, 2, 2))
    assert diffusion.local_loss(zero + 2, zero + 3, zero, zero) == pytest.approx(13)
    assert diffusion.global_loss(zero + 2, zero + 3, zero - 2, zero - 2, zero, zero) == 1


def test_patches_overlap_and_reassemble():
    x = np.random.default_rng(8).standard_normal((2, 8, 12, 4))
    patches = model.extract_patches(x, p=6, s=4)
    assert patches.shape == (2 * 3 * 1, 2, 6, 6, 6)
    np.testing.assert_array_equal(model.reassemble(patches[:, :, 1:-1, 1:-1, 1:-1], (8, 12, 4)), x)
    padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (1, 1)], mode="reflect")
    np.testing.assert_array_equal(patches[4], padded[:, 4:10, 4:10, 0:6])  # (d, h, w) = (1, 1, 0)


def local_weights(rng, d, h, m, out):
    """Random weights of every name that `model` documents."""
    shapes = {"time": (d, h), "modulation": (6 * d, d), "out": (out, d)}
    for block in ("swiglu1", "swiglu2"):
        shapes |= {f"{block}.gate": (m, d), f"{block}.value": (m, d), f"{block}.out": (d, m)}
    w = {f"{n}.weight": rng.standard_normal(shape) / 3 for n, shape in shapes.items()}
    w |= {f"{n}.bias": rng.standard_normal(shape[0]) for n, shape in shapes.items()}
    for block in ("swiglu1", "swiglu2"):
        w[f"{block}.norm.weight"] = rng.standard_normal(m)
        w[f"{block}.norm.bias"] = rng.standard_normal(m)
    return w


def test_local_denoiser_at_initialisation_is_the_output_bias():
    w = local_weights(np.random.default_rng(9), d=64, h=5, m=64, out=16)
    w["out.weight"] = np.zeros_like(w["out.weight"])
    eps, x0 = model.local_denoiser_volume(np.ones((1, 4, 4, 4)), np.ones(5), w, p=4, s=2)
    np.testing.assert_array_equal(x0[0, 2:, :2, 2:].ravel(), w["out.bias"][:8])
    np.testing.assert_array_equal(eps[0, 2:, :2, 2:].ravel(), w["out.bias"][8:])


def test_local_denoiser_skip_is_the_noisy_patch():
    rng = np.random.default_rng(10)
    w = local_weights(rng, d=8, h=5, m=8, out=16)
    for name in ("modulation", "swiglu2.out"):
        w[f"{name}.weight"], w[f"{name}.bias"] = w[f"{name}.weight"] * 0, w[f"{name}.bias"] * 0
    w["out.weight"], w["out.bias"] = np.vstack([np.eye(8), 2 * np.eye(8)]), np.zeros(16)
    v = rng.standard_normal((3, 8))
    eps, x0 = model.local_denoiser(v, np.zeros(8), w)
    np.testing.assert_allclose(x0, v)
    np.testing.assert_allclose(eps, 2 * v)


def test_swiglu_hidden_norm_makes_the_output_blind_to_scale():
    w = local_weights(np.random.default_rng(11), d=8, h=5, m=8, out=16)
    z = np.random.default_rng(12).standard_normal((3, 8))
    once = model.swiglu(z, w, "swiglu1")
    w["swiglu1.value.weight"], w["swiglu1.value.bias"] = (
        1e3 * w["swiglu1.value.weight"],
        1e3 * w["swiglu1.value.bias"],
    )
    np.testing.assert_allclose(model.swiglu(z, w, "swiglu1"), once, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("f", [2, 3])
def test_trilinear_reproduces_ramps_inside_and_repeats_edges(f):
    d, h, w = np.meshgrid(*[np.arange(n) + 0.5 for n in (4, 5, 3)], indexing="ij")
    fine_axes = [(np.arange(n * f) + 0.5) / f for n in (4, 5, 3)]
    fine_d, fine_h, fine_w = np.meshgrid(*fine_axes, indexing="ij")
    up = high_resolution.upsample_trilinear((d + 2 * h - 5 * w + 1)[None], f)[0]
    inside = (slice(f, -f),) * 3
    np.testing.assert_allclose(
        up[inside], (fine_d + 2 * fine_h - 5 * fine_w + 1)[inside], atol=1e-12
    )
    assert up[0, 0, 0] == pytest.approx(0.5 + 2 * 0.5 - 5 * 0.5 + 1)
    assert up[-1, -1, -1] == pytest.approx(3.5 + 2 * 4.5 - 5 * 2.5 + 1)


def test_nearest_down_undoes_nearest_up_and_keeps_the_variance():
    x = np.random.default_rng(13).standard_normal((1, 16, 16, 16))
    up = high_resolution.upsample_nearest(x, 2)
    np.testing.assert_array_equal(high_resolution.downsample_nearest(up, 2), x)
    np.testing.assert_array_equal(high_resolution.downsample_nearest(x, 2), x[:, ::2, ::2, ::2])
    assert high_resolution.downsample_nearest(x, 2).std() == pytest.approx(1, abs=0.1)


def test_high_resolution_estimates_and_consistency():
    x_t = np.random.default_rng(14).standard_normal((1, 4, 4, 4))
    out = high_resolution.high_resolution_estimates(
        x_t, 3, lambda x, t: (x, 0 * x + t), lambda x, _: (0 * x, 0 * x + 1), f=2
    )
    eps, x0, eps_low, x0_low = out
    assert eps.shape == x0.shape == (1, 4, 4, 4)
    assert eps_low.shape == x0_low.shape == (1, 2, 2, 2)
    assert eps[0, 1, 1, 1] == x_t[0, 0, 0, 0]
    np.testing.assert_allclose(x0, 4)
    assert high_resolution.consistency_loss(*out, f=2) == pytest.approx(1)
