"""The PyTorch reference: against the released code's values, its own fixture, and second routes."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from conftest import outside_file

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra `bench`)")
from pytorch import fixture, indicators, networks, search  # noqa: E402

SPACES = ("nasbench201", "darts")
SMALL = Path(__file__).parents[1] / "fixtures" / "reference_small.npz.xz"


@pytest.fixture(autouse=True)
def one_thread():
    # Tests run side by side: threads that spin while they wait for one another cost many times what they bring.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def small():
    return fixture.read_small_reference(SMALL)


def assert_same(found, stored, space):
    for mask, key in itertools.product(("full", "part", "single"), ("logits", "ntk")):
        expected = stored[f"{space}/{mask}/{key}"]
        error = np.abs(found[f"{space}/{mask}/{key}"] - expected).max() / np.abs(expected).max()
        assert error < 1e-10, (space, mask, key)
    for mask in ("full", "part", "single"):
        kappa = stored[f"{space}/{mask}/condition_number"]
        np.testing.assert_allclose(found[f"{space}/{mask}/condition_number"], kappa, rtol=1e-8)
        for key in ("linear_regions", "n_neurons"):
            assert found[f"{space}/{mask}/{key}"] == stored[f"{space}/{mask}/{key}"], (space, mask, key)


@pytest.mark.parametrize("space", SPACES)
def test_equals_the_released_code(space):
    with np.load(outside_file("TENAS_REFERENCE_VALUES")) as file:
        values = {name: file[name] for name in file.files if name.startswith(space)}
    assert_same(fixture.evaluate(space, values), values, space)


@pytest.mark.parametrize("space", SPACES)
def test_fixture_is_what_the_script_writes(space, small):
    fresh = fixture.small_reference(space)
    assert set(fresh) == {name for name in small if name.startswith(space)}
    for name, value in fresh.items():
        assert value.dtype == small[name].dtype
        if not name.startswith(tuple(f"{space}/{mask}/" for mask in ("full", "part", "single"))) or name.endswith(
            "mask"
        ):
            np.testing.assert_array_equal(value, small[name], err_msg=name)
    assert_same(fresh, small, space)


@pytest.mark.parametrize("space", SPACES)
def test_fixture_counts_say_something(space, small):
    for mask in ("full", "part", "single"):
        assert 1 < small[f"{space}/{mask}/linear_regions"] < len(small[f"{space}/patches"])


def loaded(space, small, part="ntk_net"):
    network = {"ntk_net": networks.ntk_network, "lr_net": networks.region_network}[part](space).double()
    network.load_state_dict({name: torch.as_tensor(small[f"{space}/{part}/{name}"]) for name in network.state_dict()})
    return network


@pytest.mark.parametrize("space", SPACES)
def test_kernel_by_finite_differences(space, small, rng):
    """`K u` is the derivative of the summed logits along the weights' direction `J^T u`."""
    network, mask = loaded(space, small), torch.as_tensor(small[f"{space}/part/mask"])
    images, u = torch.as_tensor(small[f"{space}/images"]), torch.as_tensor(rng.normal(size=4))
    kernel = indicators.ntk(network, images, mask)
    weights = [w for name, w in network.named_parameters() if "weight" in name]
    direction = torch.autograd.grad(network(images, mask).sum(1) @ u, weights, allow_unused=True)
    step, sides = 1e-7, []
    for shift in (step, -2 * step):
        with torch.no_grad():
            for w, d in zip(weights, direction, strict=True):
                w.add_(0 if d is None else shift * d)
            sides.append(network(images, mask).sum(1))
    slope = ((sides[0] - sides[1]) / (2 * step)).numpy()
    # 1e-4: what is left of the second-order error, since a step may cross a ReLU's breakpoint.
    np.testing.assert_allclose(slope, (kernel @ u).numpy(), rtol=1e-4, atol=1e-4 * float(kernel.abs().max()))


@pytest.mark.parametrize("space", SPACES)
def test_kernel_by_vectorised_jacobian(space, small):
    network, mask = loaded(space, small), torch.as_tensor(small[f"{space}/single/mask"])
    images = torch.as_tensor(small[f"{space}/images"])
    kernel = indicators.ntk_functional(network, images, mask).detach().numpy()
    expected = small[f"{space}/single/ntk"]
    np.testing.assert_allclose(kernel, expected, atol=1e-12 * np.abs(expected).max(), rtol=0)


def test_condition_number_against_numpy(rng):
    factor = rng.normal(size=(6, 9))
    kernel = factor @ factor.T
    assert indicators.condition_number(torch.as_tensor(kernel)) == pytest.approx(np.linalg.cond(kernel), rel=1e-9)


@pytest.mark.parametrize(
    ("diagonal", "expected"), [((0.0, 0.0), 100_000.0), ((0.0, 1.0), 1.797e308), ((-1.0, 2.0), -2.0)]
)
def test_condition_numbers_of_kernels_that_have_none_are_those_of_the_released_search(diagonal, expected):
    assert indicators.condition_number(torch.diag(torch.tensor(diagonal))) == pytest.approx(expected, rel=1e-3)


def test_count_patterns_by_a_set_of_rows(rng):
    rows = rng.integers(2, size=(300, 7))
    patterns = torch.as_tensor(rows, dtype=torch.bool)
    assert indicators.count_patterns(patterns) == len({tuple(row) for row in rows}) < 128


def test_patches_in_several_batches_are_normalised_apart(small):
    network, mask = loaded("nasbench201", small, "lr_net"), torch.as_tensor(small["nasbench201/full/mask"])
    patches = torch.as_tensor(small["nasbench201/patches"])
    rows = [
        tuple(row)
        for part in (patches[:20], patches[20:40], patches[40:])
        for row in indicators.activation_patterns(network, part, mask).int().tolist()
    ]
    assert indicators.linear_regions(network, patches, mask, batch=20) == len(set(rows))


def test_drawn_images_are_crops_of_padded_or_mirrored_ones(rng):
    image = rng.integers(1, 256, size=(1, 6, 6, 3), dtype=np.uint8)
    padded = np.pad(image[0], ((4, 4), (4, 4), (0, 0)))
    crops = {padded[y : y + 6, x : x + 6].tobytes() for y in range(9) for x in range(9)}
    mirrored = {padded[y : y + 6, x : x + 6][:, ::-1].tobytes() for y in range(9) for x in range(9)}
    seen = {raw(search.draw_images(image, 1, np.random.default_rng(seed))[0]).tobytes() for seed in range(60)}
    assert seen <= crops | mirrored
    assert seen & crops
    assert seen & mirrored
    assert len(seen) > 30


def raw(normalised):
    """Back to uint8 (h, w, 3)."""
    pixels = normalised.permute(1, 2, 0).numpy() * search.CIFAR10_DEVIATION + search.CIFAR10_MEAN
    return np.rint(pixels).astype(np.uint8)


def test_drawn_patches_are_one_channel_crops(rng):
    images = rng.integers(256, size=(3, 5, 5, 3), dtype=np.uint8)
    scaled = (images - search.CIFAR10_MEAN) / search.CIFAR10_DEVIATION
    everything = {
        np.round(scaled[n, y : y + 3, x : x + 3, c].astype(np.float64), 4).tobytes()
        for n, y, x, c in itertools.product(range(3), range(3), range(3), range(3))
    }
    patches = search.draw_patches(images, 400, rng).double().numpy()
    assert patches.shape == (400, 1, 3, 3)
    seen = {np.round(patch, 4).tobytes() for patch in patches[:, 0]}
    assert seen <= everything
    assert len(seen) > 0.9 * len(everything)


def test_ranks_share_exact_ties_only():
    # To three significant figures the first two are equal, and their order is that of the list.
    ranked = search.ranked([0.12301, 0.12302, -0.5, 0.2, 0.2])
    assert ranked == [(2, 0), (0, 1), (1, 2), (3, 3), (4, 3)]


def candidate(operator, kappa, regions):
    return search.Candidate(operator, kappa, regions, [], [], 0.0)


def test_prunes_the_best_sum_of_ranks_on_every_edge():
    mask = search.supernet("nasbench201")
    operators = search.candidates(mask)
    assert len(operators) == 24
    # Operator 3 lowers the condition number most and costs the fewest regions, but on edge 2 operator 1 does.
    best = {edge: 1 if edge == 2 else 3 for edge in range(6)}
    scored = [candidate(o, 0.5 if o[2] == best[o[1]] else 0.1, 0.0 if o[2] == best[o[1]] else 0.3) for o in operators]
    pruned = search.prune(mask, scored, 1)
    assert {tuple(row) for row in np.argwhere(mask & ~pruned)} == {(0, edge, best[edge]) for edge in range(6)}


def test_darts_leaves_seven_four_one_operators(rng):
    mask, left = search.supernet("darts"), []
    while operators := search.candidates(mask):
        left.append(set(mask.sum(-1).ravel()))
        scored = [candidate(o, *rng.normal(size=2)) for o in operators]
        mask = search.prune(mask, scored, search.PRUNE_NUMBER["darts"])
    assert left == [{7}, {4}]
    assert set(mask.sum(-1).ravel()) == {1}


def test_small_search_ends_with_one_operator_an_edge(monkeypatch, rng):
    monkeypatch.setitem(search.NTK_BATCH, "nasbench201", 4)
    monkeypatch.setattr(search, "REPEATS", 1)
    monkeypatch.setattr(search, "REGION_BATCH", 20)
    images = rng.integers(256, size=(8, 4, 4, 3), dtype=np.uint8)
    result = search.search(images, 0)
    assert result.finished
    assert [len(scored) for scored in result.rounds] == [24, 18, 12]
    assert (result.mask.sum(-1) == 1).all()
    text = search.architecture(result.mask)
    names = [networks.OPERATORS["nasbench201"][i] for i in result.mask[0].argmax(-1)]
    assert text == "|{}~0|+|{}~0|{}~1|+|{}~0|{}~1|{}~2|".format(*names)
    limited = search.search(images, 0, limit_candidates=2)
    assert [c.operator for c in limited.rounds[0]] == [result.rounds[0][0].operator, result.rounds[0][12].operator]
    assert limited.rounds[0][0].condition_numbers == result.rounds[0][0].condition_numbers
    assert not limited.finished


def test_a_stopped_search_goes_on_with_the_same_candidates(monkeypatch, rng):
    monkeypatch.setitem(search.NTK_BATCH, "nasbench201", 4)
    monkeypatch.setattr(search, "REPEATS", 1)
    monkeypatch.setattr(search, "REGION_BATCH", 20)
    images = rng.integers(256, size=(8, 4, 4, 3), dtype=np.uint8)
    seen, again = [], []
    whole = search.search(images, 0, on_candidate=seen.append)
    assert len(seen) == 24 + 18 + 12
    resumed = search.search(images, 0, finished=seen[:30], on_candidate=again.append)
    scores = [c._replace(seconds=0) for c in seen[30:]]
    assert [c._replace(seconds=0) for c in again] == scores
    np.testing.assert_array_equal(resumed.mask, whole.mask)


def test_search_refuses_images_of_another_kind():
    with pytest.raises(ValueError, match=r"uint8 \(N, h, w, 3\), at least 72 of them; they are float64"):
        search.search(np.zeros((80, 32, 32, 3)), 0)
