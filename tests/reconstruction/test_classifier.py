"""A network that tells classes apart, against problems whose answer is known."""

import pytest
import torch
from torch.distributions import Bernoulli

from mode_opt.cli.compose import built, composed
from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.objectives import CrossEntropy
from mode_opt.reconstruction import Classifier, Verdict

PHI = DesignPoint.of(x=1.0)


def two_normals(count, seed=0, share=0.25):
    """One in four is signal, at +1, the others at −1, of deviation 1.5; a second feature says nothing."""
    generator = torch.Generator().manual_seed(seed)
    truth = (torch.rand(1, count, 1, generator=generator) < share).float()
    useless = 7 + 0 * truth
    informative = 2 * truth - 1 + 1.5 * torch.randn(truth.shape, generator=generator)
    return Events.of(truth, torch.cat([useless, informative], -1).unsqueeze(2))


def test_trained_it_gives_the_log_ratio_of_the_densities():
    """``z = 2 x/σ² + ln(share/(1 − share))``; the loss comes within its noise of that of the exact probability."""
    torch.manual_seed(0)
    network = Classifier.fitting(two_normals(500), PHI, hidden=16, features=[1])
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    for step in range(300):
        events = two_normals(2000, seed=1 + step)
        loss = -network(events, PHI).log_prob(events.truth).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    events = two_normals(20_000, seed=10_000)
    belief, exact = network(events, PHI), 2 * events.hits[0, :, 0, 1] / 1.5**2 + torch.tensor(1 / 3).log()
    central = (events.hits[0, :, 0, 1].abs() < 2).nonzero().squeeze(1)
    assert (belief.base_dist.logits[0, central, 0] - exact[central]).abs().mean() < 0.1
    best = -Bernoulli(logits=exact).log_prob(events.truth[0, :, 0]).mean()
    assert CrossEntropy(balanced=False)(events, belief, PHI).item() == pytest.approx(best.item(), abs=2e-3)


def test_untrained_its_scores_differ_and_its_loss_is_the_cross_entropy():
    """Equal scores would be a saddle of every objective that compares the classes."""
    torch.manual_seed(0)
    events = two_normals(100)
    belief = Classifier.fitting(events, PHI)(events, PHI)
    assert belief.mean.std() > 1e-3
    torch.testing.assert_close(
        -belief.log_prob(events.truth).mean(), CrossEntropy(balanced=False)(events, belief, PHI)[0]
    )


def test_it_reads_the_features_it_is_told_to_and_no_padding():
    torch.manual_seed(0)
    events = two_normals(50)
    network = Classifier.fitting(events, PHI, features=[-1])
    other = torch.cat([torch.rand(1, 50, 1, 1), events.hits[..., 1:]], -1)
    assert torch.equal(network(Events.of(events.truth, other), PHI).mean, network(events, PHI).mean)
    unreal = torch.zeros(1, 50, 1, dtype=torch.bool)
    padded = network(Events.of(events.truth, events.hits, unreal), PHI).mean
    torch.testing.assert_close(padded, padded[:, :1].expand_as(padded))
    assert (network(events, PHI).mean - padded).abs().mean() > 1e-3


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Classifier(0, 1), "reconstruction.cells"),
        (lambda: Classifier(1, 1, inputs=2, features=[0]), "2 indices"),
        (lambda: Classifier.fitting(two_normals(5), PHI, features=[2]), "indices of the 2 hit features"),
        (lambda: Classifier.fitting(two_normals(5), PHI, features=[]), "indices of the 2 hit features"),
        (lambda: Classifier(3, 1)(two_normals(5), PHI), "reconstruction.cells"),
    ],
)
def test_what_does_not_fit_is_refused(build, message):
    with pytest.raises(ConfigurationError, match=message):
        build()


@pytest.mark.parametrize(("name", "kind"), [("classifier", Classifier), ("verdict", Verdict)])
def test_configurations_build_them(name, kind):
    factory = built(composed([f"reconstruction={name}"]).reconstruction)
    assert isinstance(factory(two_normals(5), PHI), kind)
