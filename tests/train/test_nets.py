"""The registry: sizes of published networks to the last parameter, and what every network must do."""

import hashlib
from dataclasses import asdict

import numpy as np
import pytest
import torch
from torch import nn

from mien.errors import InputError, ModelError, SourceError
from mien.labels import FER7, FERPLUS8, FIVE
from mien.train.checkpoints import start_from
from mien.train.nets.blocks import TWO_HEADS, MultiHeadNet, ResidualBlock, SqueezeExcite, standardise
from mien.train.nets.mien import mien_b
from mien.train.nets.registry import NETS
from mien.train.nets.tutorials import mlp, realtime_cnn, tutorial_one_dense, tutorial_two_dense, wide_cnn
from mien.train.nets.vgg import download_imagenet_weights, load_imagenet_weights, vgg16
from mien.train.settings import TrainSettings
from trained_sizes import count_parameters, count_values

SIZES = {  # name: all stored values, trained values; seven classes
    "tutorial-two-dense": (4_478_727, 4_474_759),
    "tutorial-one-dense": (2_735_751, 2_733_575),
    "wide-5000": (1_440_121_007, 1_440_111_007),
    "realtime": (1_485_831, 1_485_831),
    "mlp": (2_888_711, 2_888_711),
    "vgg16": (14_718_279, 14_718_279),
    "face-dlib": (5_573_383, 5_573_383),
    "face-hse": (3_202_631, 3_202_631),
    "mien-b": (1_936_087, 1_933_399),
    "mien-b2": (2_236_263, 2_233_063),
    "mien-b3": (2_836_615, 2_832_391),
    "mien-m": (1_464_017, 1_461_681),
    "mien-s": (473_767, 472_487),
    "mien-s2": (1_037_543, 1_035_687),
}
SMALL = {**NETS, "wide-5000": lambda heads: wide_cnn(heads, filters=6, hidden=10)}


def on_meta(name, heads):
    with torch.device("meta"):
        return NETS[name](heads)


def views_of(net, count, *, seed=0):
    torch.manual_seed(seed)
    return 255 * torch.rand(count, 1, net.view_px, net.view_px)


@pytest.mark.parametrize("name", NETS)
def test_sizes_are_those_of_the_source(name):
    net = on_meta(name, (FER7,))
    assert (count_values(net), count_parameters(net)) == SIZES[name]


def test_every_net_is_registered_with_its_size():
    assert set(SIZES) == set(NETS)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("heads", [(FER7,), (FIVE,), (FER7, FERPLUS8)], ids=lambda h: "+".join(k.key for k in h))
def test_any_heads_give_their_logits(name, heads):
    net = on_meta(name, heads).eval()
    with torch.device("meta"):
        logits = net(net.normalise(torch.zeros(3, 1, net.view_px, net.view_px)))
    assert net.heads == heads
    assert [tuple(z.shape) for z in logits] == [(3, len(labels)) for labels in heads]


@pytest.mark.parametrize("name", SMALL)
def test_a_batch_gives_what_single_views_give(name):
    torch.manual_seed(1)
    net = SMALL[name]((FER7, FIVE)).eval()
    views = views_of(net, 3)
    with torch.inference_mode():
        together = net(net.normalise(views))
        alone = [net(net.normalise(view[None])) for view in views]
    for head, z in enumerate(together):
        assert torch.isfinite(z).all()
        assert z.std() > 0
        torch.testing.assert_close(z, torch.cat([answer[head] for answer in alone]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", SMALL)
def test_every_parameter_learns(name):
    torch.manual_seed(2)
    net = SMALL[name]((FER7, FERPLUS8)).train()
    logits = net(net.normalise(views_of(net, 8)))
    sum(z.square().mean() for z in logits).backward()
    still = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    before_norm = {  # batch normalisation takes away what a bias before it adds: its gradient is rounding noise
        n for n in still if n.endswith("bias") and name.startswith("tutorial")
    }
    if name in ("mien-b2", "mien-b3"):  # see test_an_idle_block_wakes_up_with_the_first_step
        still = [n for n in still if not n.startswith("trunk.deeper")]
    assert set(still) <= before_norm


@pytest.mark.parametrize("name", ["mien-b2", "mien-b3"])
def test_an_idle_block_wakes_up_with_the_first_step(name):
    torch.manual_seed(3)
    net = NETS[name]((FER7,)).train()
    views = net.normalise(views_of(net, 8))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        net(views)[0].square().mean().backward()
        optimizer.step()
    still = [n for n, p in net.named_parameters() if not p.grad.abs().sum() > 0]
    assert still == []


def test_an_idle_block_leaves_what_comes_in():
    x = torch.rand(2, 8, 5, 5)
    idle, busy = ResidualBlock(8, starts_idle=True).eval(), ResidualBlock(8).eval()
    with torch.inference_mode():
        torch.testing.assert_close(idle(x), x)
        assert not torch.allclose(busy(x), x)


@pytest.mark.parametrize("name", ["mien-b2", "mien-b3"])
def test_the_deeper_net_starts_as_the_trained_one_it_goes_on_from(tmp_path, name):
    torch.manual_seed(4)
    trained = mien_b()
    for module in trained.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
    path = tmp_path / "best.ckpt"
    state = {f"net.{key}": value for key, value in trained.state_dict().items()}
    torch.save({"mien": asdict(TrainSettings(net="mien-b")), "state_dict": state}, path)
    deeper = NETS[name](TWO_HEADS).eval()
    views = deeper.normalise(views_of(deeper, 4))
    trained.eval()
    with torch.inference_mode():
        before = deeper(views)
        start_from(deeper, path, name=name, crops=np.zeros((1, 48, 48), np.uint8))
        for fresh, mine, theirs in zip(before, deeper(views), trained(views), strict=True):
            assert torch.equal(mine, theirs)
            assert not torch.allclose(fresh, theirs, atol=0.01)
    with pytest.raises(InputError, match="holds another network than 'mien-s'"):
        start_from(NETS["mien-s"](TWO_HEADS), path, name="mien-s", crops=np.zeros((1, 48, 48), np.uint8))


@pytest.mark.parametrize(
    ("name", "gates"),
    [("mien-b", 2), ("mien-b2", 3), ("mien-b3", 5), ("mien-m", 2), ("mien-s", 0), ("mien-s2", 0)],
)
def test_the_small_nets_have_no_attention(name, gates):
    net = on_meta(name, (FER7,))
    blocks = [module for module in net.modules() if isinstance(module, ResidualBlock)]
    assert len(blocks) >= 2
    assert sum(isinstance(module, SqueezeExcite) for module in net.modules()) == gates
    assert sum(isinstance(block.attention, SqueezeExcite) for block in blocks) == gates


def test_own_nets_and_mlp_see_standardised_images():
    views = views_of(mlp(), 2)
    for net in (mien_b(), mlp()):
        torch.testing.assert_close(net.normalise(views), standardise(views))
        torch.testing.assert_close(net.normalise(views).mean(dim=(1, 2, 3)), torch.zeros(2), atol=1e-5, rtol=0)


@pytest.mark.parametrize("factory", [tutorial_two_dense, tutorial_one_dense, realtime_cnn])
def test_tutorial_nets_see_zero_to_one(factory):
    net = factory()
    ends = torch.tensor([0.0, 255.0]).reshape(2, 1, 1, 1).expand(2, 1, 48, 48)
    assert net.normalise(ends).flatten(1).unique(dim=1).flatten().tolist() == [0.0, 1.0]


def test_vgg_sees_what_its_imagenet_weights_saw():
    gray = torch.full((1, 1, 48, 48), 127.5)
    red, green, blue = vgg16().normalise(gray)[0, :, 0, 0].tolist()
    assert red == pytest.approx((0.5 - 0.485) / 0.229, abs=1e-5)
    assert green == pytest.approx((0.5 - 0.456) / 0.224, abs=1e-5)
    assert blue == pytest.approx((0.5 - 0.406) / 0.225, abs=1e-5)


def test_tutorial_nets_start_and_normalise_as_keras_does():
    torch.manual_seed(0)
    net = tutorial_two_dense()
    convolution, norm = net.trunk[2][0], net.trunk[2][1]
    limit = (6 / (9 * 128 + 9 * 512)) ** 0.5
    assert 0.99 * limit < convolution.weight.abs().max() <= limit
    assert convolution.bias.abs().max() == 0
    assert (norm.eps, norm.momentum) == (1e-3, 0.01)


def test_the_wide_net_pads_as_keras_does():
    net = wide_cnn(filters=1, hidden=1)
    with torch.no_grad():
        net.trunk[1].weight.fill_(1.0)
        net.trunk[1].bias.zero_()
        reached = net.trunk[:2](torch.ones(1, 1, 48, 48))[0, 0]
    assert reached.shape == (48, 48)
    assert (reached[0, 0], reached[-1, -1], reached[20, 20]) == (9, 4, 16)  # one pixel before, two behind


def test_the_layout_of_checkpoints_stays():
    names = list(mien_b().state_dict())
    assert names[0] == "trunk.0.0.weight"
    assert names[-2:] == ["classifiers.1.weight", "classifiers.1.bias"]
    assert "trunk.10.attention.squeeze.weight" in names
    assert len(names) == 72


def test_a_net_without_heads_is_refused():
    with pytest.raises(InputError, match="at least one head"):
        MultiHeadNet(nn.Identity(), 1, heads=(), view_px=44)


@pytest.fixture(scope="module")
def imagenet_file(tmp_path_factory):
    """A state dictionary laid out like the official file, with other numbers and without its unused classifier."""
    torch.manual_seed(5)
    state = {f"features.{k}": v for k, v in vgg16().trunk.state_dict().items()}
    path = tmp_path_factory.mktemp("vgg") / "vgg16.pth"
    torch.save({**state, "classifier.0.bias": torch.zeros(4)}, path)
    return path


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(("heads", "trained"), [((FER7,), 3_591), ((FIVE,), 2_565)])
def test_transfer_trains_the_head_alone(imagenet_file, heads, trained):
    net = vgg16(heads)
    load_imagenet_weights(net, imagenet_file, sha256=digest(imagenet_file))
    stored = torch.load(imagenet_file, weights_only=True)
    torch.testing.assert_close(net.trunk[0].weight, stored["features.0.weight"])
    torch.testing.assert_close(net.trunk[28].bias, stored["features.28.bias"])
    assert count_parameters(net) == trained
    load_imagenet_weights(net, imagenet_file, sha256=digest(imagenet_file), frozen=False)
    assert count_parameters(net) == 14_714_688 + trained


def test_a_file_with_another_hash_is_not_read(imagenet_file):
    net = vgg16()
    before = net.trunk[0].weight.clone()
    with pytest.raises(ModelError, match=r"must have SHA-256 397923af.*download"):
        load_imagenet_weights(net, imagenet_file)
    torch.testing.assert_close(net.trunk[0].weight, before)


def test_a_missing_file_and_other_layers_are_named(tmp_path):
    with pytest.raises(ModelError, match=r"no weights at .*nowhere.pth; download https://"):
        load_imagenet_weights(vgg16(), tmp_path / "nowhere.pth")
    other = tmp_path / "other.pth"
    torch.save({"features.0.weight": torch.zeros(1)}, other)
    with pytest.raises(ModelError, match="does not hold the layers of VGG16"):
        load_imagenet_weights(vgg16(), other, sha256=digest(other))


def test_the_download_is_skipped_where_the_file_is_right(imagenet_file):
    assert download_imagenet_weights(imagenet_file, sha256=digest(imagenet_file)) == imagenet_file


def test_a_download_that_fails_leaves_nothing(tmp_path):
    target = tmp_path / "vgg16.pth"
    with pytest.raises(SourceError, match="cannot download https://localhost:1/x"):
        download_imagenet_weights(target, url="https://localhost:1/x")
    with pytest.raises(InputError, match="over https"):
        download_imagenet_weights(target, url="http://localhost:1/x")
    assert list(tmp_path.iterdir()) == []


def test_standardise_of_a_flat_image_is_zero():
    flat = standardise(torch.full((1, 1, 44, 44), 90.0))
    assert np.array_equal(flat.numpy(), np.zeros((1, 1, 44, 44), np.float32))
