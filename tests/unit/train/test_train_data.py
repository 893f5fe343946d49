"""The loader: exactly once, the same order for any number of workers, texts by weight, torn shards named."""

from __future__ import annotations

import os
import signal
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from unit.train.cases import make_config, write_dataset

from kg2clip import tables
from kg2clip.errors import UserError
from kg2clip.train import recipe as recipes
from kg2clip.train.data import Batch, Pieces, Places, Samples, augment, batches, generator
from kg2clip.train.world import World


def pieces_of(manifest: Path, seed: int = 1) -> Pieces:
    return Pieces(Samples(manifest), recipes.load(make_config(), "tiny"), seed)


def equal(one: list[Batch], other: list[Batch]) -> bool:
    return len(one) == len(other) and all(
        torch.equal(a, b) for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True)
    )


def test_each_sample_once_in_every_epoch(dataset: Path) -> None:
    pieces = pieces_of(dataset)
    seen = [pieces.sample_at(place) for places in Places(batch=8, first=0, last=15) for place in places]
    assert len(seen) == 120
    for epoch in range(4):
        assert sorted(sample for when, sample in seen if when == epoch) == list(range(30))
    orders = [[sample for when, sample in seen if when == epoch] for epoch in range(2)]
    assert orders[0] != orders[1]


def test_order_depends_on_the_seed(dataset: Path) -> None:
    orders = [
        [pieces.sample_at(place)[1] for place in range(30)] for pieces in map(partial(pieces_of, dataset), (1, 1, 2))
    ]
    assert orders[0] == orders[1] != orders[2]


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more workers than cores, on purpose
def test_batches_are_the_same_for_any_number_of_workers(dataset: Path) -> None:
    pieces = pieces_of(dataset)
    runs = [list(batches(pieces, 8, 0, 8, workers, pin=False)) for workers in (0, 1, 2, 4)]
    assert all(equal(runs[0], run) for run in runs[1:])
    assert runs[0][0].images.shape == (8, 32, 32, 3) and runs[0][0].images.dtype == torch.uint8
    assert runs[0][0].tokens.shape == (8, 16)


def test_batches_go_on_from_any_step(dataset: Path) -> None:
    pieces = pieces_of(dataset)
    assert equal(list(batches(pieces, 8, 0, 8, 0, pin=False))[5:], list(batches(pieces, 8, 5, 8, 1, pin=False)))


def test_large_batches_are_put_together_from_pieces(tmp_path: Path) -> None:
    pieces = pieces_of(write_dataset(tmp_path / "large", pictures=150))
    whole = next(batches(pieces, 150, 0, 1, 0, pin=False))
    assert whole.images.shape[0] == 150
    single = [pieces[range(place, place + 1)] for place in range(150)]
    assert torch.equal(whole.captions, torch.cat([each.captions for each in single if isinstance(each, Batch)]))


def test_texts_follow_their_weights(dataset: Path) -> None:
    samples = Samples(dataset)
    drawn = Counter(samples.text(3, generator("sample", 1, epoch, "x").random()) for epoch in range(2000))
    assert drawn["a red square"] / 2000 == pytest.approx(0.7, abs=0.03)
    assert drawn["number 3"] / 2000 == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize(("share", "query"), [(0.0, 1.0), (0.5, 0.5), (1.0, 0.0)])
def test_an_experiment_sets_the_share_of_alt_texts(dataset: Path, share: float, query: float) -> None:
    samples = Samples(dataset, recipes.load(make_config(alt_text_share=share), "tiny"))
    assert samples.text_mix() == {"query": query, "alt-text": share}
    assert samples.text(0, 0.49) == ("number 0" if share == 1 else "a red square")
    assert samples.text(0, 0.51) == ("a red square" if share == 0 else "number 0")


def test_pictures_with_texts_of_one_sort_keep_them_at_any_share(dataset: Path) -> None:
    rows = tables.read(dataset).to_pylist()
    rows[0]["texts"] = rows[0]["texts"][1:]
    tables.write(rows, tables.DATASET, dataset)
    samples = Samples(dataset, recipes.load(make_config(alt_text_share=0.0), "tiny"))
    assert samples.text(0, 0.5) == "number 0" and samples.text(1, 0.999) == "a green square"


def test_one_kind_of_text_in_a_batch(dataset: Path) -> None:
    pieces = Pieces(Samples(dataset), recipes.load(make_config(text_draw="batch"), "tiny"), 1)
    red = {tuple(pieces._tokenizer(f"a {colour} square")[0].tolist()) for colour in ("red", "green", "blue")}
    drawn = []
    for batch in batches(pieces, 8, 0, 60, 0, pin=False):
        named = {tuple(tokens) in red for tokens in batch.tokens.tolist()}
        assert len(named) == 1
        drawn += named
    assert sum(drawn) / 60 == pytest.approx(0.7, abs=0.18)  # three standard deviations


def chosen(dataset: Path, **experiment: object) -> list[str]:
    samples = Samples(dataset, recipes.load(make_config(**experiment), "tiny"))
    return [samples.key(number) for number in range(len(samples))]


def test_parts_of_a_dataset(dataset: Path) -> None:
    everything = chosen(dataset)
    half, quarter = chosen(dataset, picture_share=0.5), chosen(dataset, picture_share=0.25)
    assert set(quarter) < set(half) < set(everything) and len(half) == pytest.approx(15, abs=6)
    assert chosen(dataset, sources=["gbif"]) == everything[15:]
    # Three entities, each found by two queries of five pictures: q0 and q3, q1 and q4, q2 and q5.
    assert chosen(dataset, queries_per_entity=1) == [key for number, key in enumerate(everything) if number % 6 < 3]
    queried = chosen(dataset, query_share=0.5)
    assert set(chosen(dataset, query_share=0.2)) <= set(queried) < set(everything) and len(queried) % 5 == 0
    with pytest.raises(UserError, match="no picture of the dataset is left"):
        chosen(dataset, sources=["other"])


def test_pictures_of_the_same_entities_have_equal_numbers(dataset: Path) -> None:
    rows = tables.read(dataset).to_pylist()
    rows[0]["entityIDs"], rows[1]["entityIDs"] = None, []
    tables.write(rows, tables.DATASET, dataset)
    numbers = Samples(dataset).entities
    assert numbers[2] == numbers[5] != numbers[3] == numbers[6]
    assert len({numbers[0], numbers[1], *numbers[2:]}) == 5


def test_processes_share_each_batch(dataset: Path) -> None:
    pieces = pieces_of(dataset)
    whole = list(batches(pieces, 8, 2, 5, 0, pin=False))
    parts = [list(batches(pieces, 8, 2, 5, 0, False, World(rank, 2))) for rank in range(2)]
    joined = [Batch(*(torch.cat(tensors) for tensors in zip(*both, strict=True))) for both in zip(*parts, strict=True)]
    assert equal(whole, joined)


def test_texts_that_are_empty_are_not_drawn(dataset: Path) -> None:
    rows = tables.read(dataset).to_pylist()
    rows[0]["texts"][0]["text"], rows[1]["texts"][0]["text"] = None, ""
    tables.write(rows, tables.DATASET, dataset)
    samples = Samples(dataset)
    assert [samples.text(sample, 0.1) for sample in (0, 1, 2)] == ["number 0", "number 1", "a blue square"]
    rows[2]["texts"] = [{"text": "", "kind": "query", "weight": 1.0}]
    tables.write(rows, tables.DATASET, dataset)
    with pytest.raises(UserError, match="sample picture002 has no text with a weight above 0"):
        Samples(dataset)


def test_a_text_longer_than_the_context_is_cut_and_keeps_its_end(dataset: Path) -> None:
    rows = tables.read(dataset).to_pylist()
    rows[0]["texts"] = [{"text": "bird " * 99, "kind": "query", "weight": 1.0}]
    tables.write(rows, tables.DATASET, dataset)
    pieces = pieces_of(dataset)
    place = next(place for place in range(30) if pieces.sample_at(place)[1] == 0)
    (tokens,) = pieces[range(place, place + 1)].tokens.tolist()  # type: ignore[union-attr]
    assert len(tokens) == 16 and tokens[-1] == max(tokens) == 49407


def test_text_borders_of_the_draw(dataset: Path) -> None:
    samples = Samples(dataset)
    draws = (0.0, 0.69, 0.71, 1 - 2**-53)
    assert [samples.text(0, draw) for draw in draws] == ["a red square"] * 2 + ["number 0"] * 2


def test_equal_captions_have_equal_numbers(dataset: Path) -> None:
    whole = next(batches(pieces_of(dataset), 30, 0, 1, 0, pin=False))
    for one in range(30):
        for other in range(30):
            same = torch.equal(whole.tokens[one], whole.tokens[other])
            assert same == bool(whole.captions[one] == whole.captions[other])
    assert len(set(whole.captions.tolist())) < 30


def test_missing_shard_is_named(dataset: Path) -> None:
    (dataset.parent / "train-00001.tar").unlink()
    with pytest.raises(UserError, match=r"train-00001\.tar is missing"):
        Samples(dataset)


def test_a_shard_that_goes_during_training_is_named(dataset: Path) -> None:
    pieces = pieces_of(dataset)
    (dataset.parent / "train-00001.tar").unlink()
    with pytest.raises(UserError, match=r"train-00001\.tar can't be read: No such file"):
        list(batches(pieces, 30, 0, 1, 0, pin=False))


def test_a_killed_worker_is_told(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pieces, "__getitem__", lambda pieces, places: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(UserError, match=r"a process that decodes pictures was killed, .* train\.workers"):
        list(batches(pieces_of(dataset), 8, 0, 1, 1, pin=False))


def test_cut_shard_is_named(dataset: Path) -> None:
    path = dataset.parent / "train-00002.tar"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(UserError, match=r"train-00002\.tar is torn: 2000 bytes"):
        Samples(dataset)


@pytest.mark.parametrize("workers", [0, 1])
def test_changed_bytes_are_named_without_a_traceback(dataset: Path, workers: int) -> None:
    samples = Samples(dataset)
    path = dataset.parent / "train-00000.tar"
    content = bytearray(path.read_bytes())
    content[int(samples.offsets[0]) + 300] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"train-00000\.tar is torn: picture picture000") as caught:
        list(batches(pieces_of(dataset), 30, 0, 1, workers, pin=False))
    assert "Traceback" not in str(caught.value)


def test_empty_dataset_and_missing_texts_are_told(dataset: Path) -> None:
    table = tables.read(dataset)
    rows = table.to_pylist()
    rows[4]["texts"] = []
    tables.write(rows, tables.DATASET, dataset)
    with pytest.raises(UserError, match="picture004 has no text"):
        Samples(dataset)
    rows[4]["texts"] = None
    tables.write([*rows[5:], rows[4]], tables.DATASET, dataset)  # the last one: nothing follows it
    with pytest.raises(UserError, match="picture004 has no text"):
        Samples(dataset)
    tables.write(table.slice(0, 0), tables.DATASET, dataset)
    with pytest.raises(UserError, match="holds no picture"):
        Samples(dataset)


def test_crops_keep_to_the_recipe() -> None:
    recipe = recipes.load(make_config(crop_scale=[0.25, 0.25], crop_ratio=[1.0, 1.0], horizontal_flip=0.0), "tiny")
    ramp = np.repeat(np.arange(64, dtype=np.uint8)[None, :, None], 64, axis=0).repeat(3, axis=2)
    widths = set()
    for number in range(50):
        part = augment(ramp, recipe, np.random.default_rng(number))
        assert part.shape == (32, 32, 3)
        widths.add(int(part.max()) - int(part.min()) + 1)
    assert widths == {32}  # a quarter of the area is half of each side


def test_flip_mirrors() -> None:
    whole = {"crop_scale": [1.0, 1.0], "crop_ratio": [1.0, 1.0]}
    picture = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    straight, mirrored = (
        augment(picture, recipes.load(make_config(**whole, horizontal_flip=flip), "tiny"), np.random.default_rng(0))
        for flip in (0.0, 1.0)
    )
    assert np.array_equal(straight, picture) and np.array_equal(mirrored, picture[:, ::-1])


def test_panorama_is_cropped_from_its_middle() -> None:
    part = augment(np.zeros((32, 600, 3), np.uint8), recipes.load(make_config(), "tiny"), np.random.default_rng(0))
    assert part.shape == (32, 32, 3)
