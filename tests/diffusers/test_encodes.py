"""What takes share: texts and photos are encoded once, whoever's take comes between, and known by what is in them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from engine_harness import Collected, Told, job_of, pipe_of
from families import BY_ENTRY
from PIL import Image

from clips.catalog import Accepts, Model
from clips.domain import ClipSpec
from clips.errors import CancelledError
from clips.stills import recompressed
from generator.engines.diffusers import ltx2
from generator.engines.diffusers.encodes import Encodes
from generator.engines.diffusers.engine import DiffusersEngine
from generator.engines.diffusers.fingerprints import block_sums, fingerprint


class Encoder:
    """Something with two encoders, which notes what it was asked for: 1,000 numbers a word."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def words(self, text: str) -> torch.Tensor:
        self.asked.append(text)
        return torch.arange(1000.0) + len(text)

    def photo(self, pixels: torch.Tensor) -> tuple[torch.Tensor, None]:
        self.asked.append("photo")
        return pixels * 2, None

    def encodes(self, *, jobs: int = 3) -> Encodes:
        """With room for the words of so many jobs."""
        return Encodes(((self, "words"), (self, "photo")), limit=jobs * 4000)


async def test_takes_of_requests_in_turn_encode_each_text_and_photo_once(
    engine: DiffusersEngine, model: Model, photo: Path
) -> None:
    own, calls = await DiffusersEngine.load(model, "cpu", Told()), list[str]()
    pipe_of(own).text_encoder.register_forward_hook(lambda *_: calls.append("text"))
    pipe_of(own).vae.encoder.register_forward_hook(lambda *_: calls.append("photo"))
    specs = [ClipSpec(model="tiny", motion=motion, avoid="blur") for motion in ("hail", "wind")]
    for seed in (1, 2):
        for spec in specs:
            made, expected, told = Collected(), Collected(), Told()
            await own.render(job_of(photo, seed, spec=spec), made, told)
            await engine.render(job_of(photo, seed, spec=spec), expected, Told())
            assert np.array_equal(made.clip(), expected.clip())
            done = [done for phase, done, _ in told.reports if phase == "encode"]
            assert done == [0, 1, 1, 2], "after the prompt, what to avoid, and the photo"
    assert calls == ["text", "text", "photo", "text"], "two prompts, what both avoid, and one photo"
    await own.close()


@pytest.mark.parametrize(
    "entry",
    ["ltx-video", "ltx-video-0.9.5", "ltx-2", "cogvideox-5b-i2v", "skyreels-v2-14b", "hunyuan-1.5-480p"],
)
async def test_a_new_prompt_is_all_that_is_read_for_it(entry: str, shelf: Path, photo: Path) -> None:
    tiny, calls = BY_ENTRY[entry], list[int]()
    engine = await DiffusersEngine.load(tiny.model(tiny.saved(shelf)), "cpu", Told())
    pipe_of(engine).text_encoder.register_forward_hook(lambda *_: calls.append(1))
    read: list[int] = []
    for motion in ("hail", "wind", "hail"):
        spec = ClipSpec(model=entry, motion=motion, avoid="blur")
        await engine.render(job_of(photo, 7, spec=spec, plan=tiny.plan), Collected(), Told())
        read.append(len(calls) - sum(read))
    await engine.close()
    assert read == [2, 1, 0]


async def test_without_guidance_nothing_is_read_that_is_to_be_avoided(shelf: Path, photo: Path) -> None:
    tiny, calls = BY_ENTRY["hunyuan-1.5-480p"], list[int]()
    model = tiny.model(tiny.saved(shelf))
    distilled = model.model_copy(update={"guidance": 1.0, "accepts": model.accepts - {Accepts.AVOID}})
    engine = await DiffusersEngine.load(distilled, "cpu", Told())
    pipe_of(engine).text_encoder.register_forward_hook(lambda *_: calls.append(1))
    await engine.render(job_of(photo, 7, plan=tiny.plan), Collected(), Told())
    await engine.close()
    assert calls == [1]


async def test_a_photo_is_compressed_once_for_all_its_takes(
    shelf: Path, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny, asked = BY_ENTRY["ltx-2"], list[int]()

    def noted(picture: Image.Image, crf: int) -> Image.Image:
        asked.append(crf)
        return recompressed(picture, crf)

    monkeypatch.setattr(ltx2, "recompressed", noted)
    engine = await DiffusersEngine.load(tiny.model(tiny.saved(shelf)), "cpu", Told())
    for consistency, seeds in ((0.7, (7, 8)), (0.7, (9,)), (0.9, (7,)), (0.7, (8,))):
        told = Told()
        spec = ClipSpec(model="ltx-2", motion="rain", consistency=consistency)
        await engine.render(job_of(photo, *seeds, spec=spec, plan=tiny.plan), Collected(), told)
        assert [done for phase, done, total in told.reports if (phase, total) == ("encode", 3)][:2] == [0, 1]
    await engine.close()
    assert asked == [33, 11]


def test_what_was_unused_for_longest_goes_first_and_never_what_a_job_uses() -> None:
    encoder = Encoder()
    encodes = encoder.encodes(jobs=2)
    for text in ("a", "b", "a", "c", "a", "b"):
        with encodes.reused(Told()):
            encoder.words(text)
    assert encoder.asked == ["a", "b", "c", "b"]
    encoder.asked.clear()
    for _ in range(2):
        with encodes.reused(Told()):
            for text in ("d", "e", "f"):
                encoder.words(text)
    assert encoder.asked == ["d", "e", "f"], "more than there is room for, and all of one job"
    encodes.forget()
    with encodes.reused(Told()):
        encoder.words("f")
    assert encoder.asked[3:] == ["f"]


def test_what_depends_on_something_without_a_fingerprint_is_made_anew_and_not_remembered() -> None:
    made: list[int] = []

    class Sampler:
        def encode(self, generator: torch.Generator) -> torch.Tensor:
            made.append(1)
            return torch.randn(4, generator=generator)

    sampler, generator = Sampler(), torch.Generator().manual_seed(7)
    encodes = Encodes(((sampler, "encode"),))
    for _ in range(2):
        with encodes.reused(Told()):
            assert not torch.equal(sampler.encode(generator), sampler.encode(generator))
    assert len(made) == 4 and not encodes._known  # pyright: ignore[reportPrivateUsage] - it would only fill it


def test_a_render_that_ends_early_leaves_what_it_had_encoded() -> None:
    encoder = Encoder()
    encodes, cut = encoder.encodes(), Told(cancel_at=lambda report: report == ("encode", 1, 2))
    with pytest.raises(CancelledError), encodes.reused(cut):
        encoder.words("a")
    with pytest.raises(ZeroDivisionError), encodes.reused(Told()):
        _ = encoder.photo(torch.ones(3)), 1 // 0
    told = Told()
    with encodes.reused(told):
        assert torch.equal(encoder.words("a"), torch.arange(1000.0) + 1)
        assert torch.equal(encoder.photo(torch.ones(3))[0], torch.full((3,), 2.0))
    assert encoder.asked == ["a", "photo"]
    assert told.reports == [("encode", 0, 2), ("encode", 1, 2), ("encode", 2, 2)]
    assert "words" not in vars(encoder), "and the encoders are their own again"


def test_what_comes_back_has_every_bit_and_stride_and_shares_memory_as_it_did() -> None:
    class Vae:
        def encode(self, pixels: torch.Tensor) -> tuple[AutoencoderKLOutput, list[torch.Tensor]]:
            made = AutoencoderKLOutput(latent_dist=DiagonalGaussianDistribution(pixels))
            return made, [pixels.mT[1:], pixels[:1].expand(4, -1, -1, -1)]

    vae, pixels = Vae(), torch.randn(2, 6, 5, 3)
    encodes, made = Encodes(((vae, "encode"),)), list[tuple[AutoencoderKLOutput, list[torch.Tensor]]]()
    for _ in range(2):
        with encodes.reused(Told()):
            made.append(vae.encode(pixels))
    (first, views), (again, viewed) = made
    assert again is not first
    for name in ("parameters", "mean", "std"):
        views.append(getattr(first.latent_dist, name))
        viewed.append(getattr(again.latent_dist, name))
    for one, other in zip(views, viewed, strict=True):
        assert torch.equal(one, other) and one.stride() == other.stride()
    assert again["latent_dist"] is again.latent_dist
    places = [tensor.untyped_storage().data_ptr() for tensor in (again.latent_dist.parameters, again.latent_dist.mean)]
    assert places[0] == places[1], "the mean is a part of the parameters"


def test_other_pictures_and_tensors_have_other_fingerprints() -> None:
    pixels = np.random.default_rng(3).integers(0, 255, (8, 12, 3), np.uint8)
    photo, tensor = Image.fromarray(pixels), torch.from_numpy(pixels).float()
    for same, others in (
        (photo.copy, [photo.rotate(180), Image.fromarray(pixels.reshape(12, 8, 3)), photo.convert("RGBA")]),
        (tensor.clone, [tensor.flip(0), tensor.flip(1), tensor.view(12, 8, 3), tensor.double(), -tensor]),
        (lambda: {"a": ["b", 1]}, [{"a": ["b", True]}, {"a": ["b", 1.0]}, {"a": ("b", 1)}, {"a": ["b", 1, None]}, {}]),
    ):
        prints = [fingerprint(each) for each in (same(), *others)]
        assert len(set(prints)) == len(prints)
        assert prints[0] == fingerprint(same())
    generator = torch.Generator()
    assert fingerprint(None) is not None and fingerprint({"a": [None]}) is not None
    assert all(fingerprint(each) is None for each in (generator, [generator], {"a": (1, [generator])}))


def test_on_a_gpu_a_digest_is_of_every_byte_and_its_place() -> None:
    whole = torch.randint(0, 256, (3 * 4 * 2**16 + 5,), dtype=torch.uint8)
    flipped = whole.clone()
    flipped[-1] ^= 128
    block = 4 * 2**16
    swapped = torch.cat([whole[block : 2 * block], whole[:block], whole[2 * block :]])
    moved = torch.cat([whole[4:8], whole[:4], whole[8:]])
    sums = block_sums(whole)
    assert sums.shape == (4, 4) and torch.equal(sums, block_sums(torch.cat([whole[:1], whole])[1:])), "wherever it lies"
    for other in (flipped, swapped, moved):
        assert ((block_sums(other) != sums).any(0)).all(), "all four tell"
    last = block_sums(flipped) != sums
    assert not last[:3].any() and last[3].all()
