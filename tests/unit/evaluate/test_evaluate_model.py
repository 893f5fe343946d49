"""Benchmarks on disk and zero-shot predictions, with a model whose answers are known."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
import yaml
from PIL import Image
from unit.train.cases import export_model

import evaluate_model
from kg2clip import openclip, settings, tables
from kg2clip.device import quiet
from kg2clip.errors import UserError
from kg2clip.evaluate import benchmark as benchmarks
from kg2clip.evaluate.model import Model
from kg2clip.evaluate.names import TEMPLATES
from kg2clip.evaluate.zeroshot import Classifier, best_labels

NAMES = [("Larus argentatus", "herring gull"), ("Erithacus rubecula", "robin"), ("Turdus migratorius", "Robin")]
NAMES += [("Milvus milvus", None)]


def write_split(
    folder: Path, labels: list[int], tars: int = 1, ending: str = "png", label_told: int | None = None
) -> None:
    folder.mkdir(parents=True)
    (folder / "nshards.txt").write_text(f"{tars}\n")
    for tar in range(tars):
        with tarfile.open(folder / f"{tar}.tar", "w") as archive:
            for number, label in list(enumerate(labels))[tar::tars]:
                noise = np.random.default_rng(number + 100 * label).integers(0, 255, (40, 50, 3), dtype=np.uint8)
                picture = io.BytesIO()
                Image.fromarray(noise).save(picture, format=ending.upper())
                for name, content in (
                    (f"s{number:07d}.{ending}", picture.getvalue()),
                    (f"s{number:07d}.cls", str(label if label_told is None else label_told).encode()),
                ):
                    info = tarfile.TarInfo(name)
                    info.size = len(content)
                    archive.addfile(info, io.BytesIO(content))


@pytest.fixture
def benchmark(tmp_path: Path) -> Path:
    folder = tmp_path / "benchmark"
    write_split(folder / "dev", [0, 1, 2, 3])
    write_split(folder / "test", [0, 1, 2, 3, 0, 1, 2, 3], tars=2)
    classes = [{"entityID": f"wd:Q{n}", "scientificName": s, "vernacularName": c} for n, (s, c) in enumerate(NAMES)]
    (folder / "classes.json").write_text(json.dumps(classes))
    (folder / "classnames.txt").write_text("".join(f"{common or scientific}\n" for scientific, common in NAMES))
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return export_model(tmp_path / "model")


def run(
    benchmark: Path, model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, **evaluate: object
) -> tuple[Path, dict]:
    content: dict[str, object] = {"project": "test", "knowledge": {"roots": ["Apidae"]}, "train": {"workers": 0}}
    content["evaluate"] = {"few_shot": [], **evaluate}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings.complete(content, "the test's config")))
    files = {"model": model, "benchmark": benchmark, "output": folder / "out" / "birds.parquet"}
    files |= {"provenance": folder / "p.json", "config": folder / "config.yaml"}
    arguments = [part for key, path in files.items() for part in (f"--{key}", str(path))]
    monkeypatch.setattr("sys.argv", ["evaluate_model.py", "--benchmark-name", "birds", "--threads", "1", *arguments])
    evaluate_model.main()
    return files["output"], json.loads((folder / "p.json").read_text())["counts"]


def test_every_split_form_and_prompt_has_its_rows(
    benchmark: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, counts = run(benchmark, model, tmp_path, monkeypatch, few_shot=[1, 5])
    frame = tables.read_frame(output)
    probes = frame[frame["prompts"] == "linear probe"]
    assert probes.groupby(["split", "nameForm"]).size().to_dict() == {
        ("test", "1-shot"): 8
    }  # dev has one of each class
    frame = frame.drop(probes.index)
    sizes = frame.groupby(["split", "nameForm", "prompts"]).size().to_dict()
    expected = {("dev", "scientific"): 4, ("dev", "common"): 3, ("test", "scientific"): 8, ("test", "common"): 6}
    assert sizes == {(*key, prompts): size for key, size in expected.items() for prompts in ("bare", "nature", "photo")}
    assert {len(top) for top in frame["top"]} == {3, 4}  # as many as there are named classes
    assert counts["pictures"] == {"dev": 4, "test": 8} and counts["devSplit"]
    assert counts["forms"]["common"] == {
        "classesWithoutName": 1,
        "picturesNotScored": {"dev": 1, "test": 2},
        "classesWithSharedName": 2,  # the tokenizer makes robin of Robin
        "classesWithTruncatedText": 0,
        "sharedNames": ["robin", "Robin"],
        "truncatedNames": [],
    }
    assert 3 not in set(frame[frame["nameForm"] == "common"]["top"].explode())


def test_predictions_are_those_of_open_clip(
    benchmark: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, _ = run(
        benchmark, model, tmp_path, monkeypatch, name_forms=["scientific"], prompts={"two": ["{c}", "a photo of {c}"]}
    )
    with quiet():
        loaded, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{model}")
        tokenizer = open_clip.get_tokenizer(f"local-dir:{model}")
    loaded.eval()
    names = [scientific for scientific, _ in NAMES]
    templates = [lambda c: c, lambda c: f"a photo of {c}"]
    weights = open_clip.build_zero_shot_classifier(loaded, tokenizer, names, templates)
    frame = tables.read_frame(output)
    for row in frame[frame["split"] == "test"].itertuples():
        number = int(row.key[1:])
        noise = np.random.default_rng(number + 100 * row.label).integers(0, 255, (40, 50, 3), dtype=np.uint8)
        with torch.inference_mode():
            features = loaded.encode_image(preprocess(Image.fromarray(noise))[None], normalize=True)
        cosines = (features @ weights)[0]
        assert row.top.tolist() == cosines.argsort(descending=True).tolist()
        assert row.scores == pytest.approx(cosines.sort(descending=True).values.numpy(), abs=1e-5)


def test_preprocessing_in_two_halves_gives_the_numbers_of_open_clip(model: Path) -> None:
    with quiet():
        _, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{model}")
    loaded = Model(model, torch.device("cpu"))
    for number, mode in enumerate(("RGB", "L", "RGBA", "CMYK")):
        noise = np.random.default_rng(number).integers(0, 255, (40, 70, 3), dtype=np.uint8)
        picture = Image.fromarray(noise).convert(mode)
        halves = loaded.preprocess(picture)
        assert halves.dtype == torch.uint8
        assert torch.equal(loaded._normalise(halves[None].float() / 255)[0], preprocess(picture))


def test_shared_names_tie_and_the_lower_label_comes_first(benchmark: Path, model: Path) -> None:
    loaded = Model(model, torch.device("cpu"))
    classifier = loaded.classifier(benchmarks.load(benchmark).names["common"], ["{c}"])
    pictures = loaded.embed_pictures(benchmarks.load(benchmark).pictures("test"), 0, "test")
    labels, scores, _ = best_labels(pictures, classifier)
    for top, cosines in zip(labels.tolist(), scores, strict=True):
        assert top.index(2) == top.index(1) + 1
        assert cosines[top.index(1)] == cosines[top.index(2)]


def test_best_labels_by_hand() -> None:
    pictures = np.array([[1, 0], [0, 1]], dtype=np.float32)
    embeddings = np.array([[0.6, 0.8], [1, 0], [0, 1]], dtype=np.float32)
    classifier = Classifier(np.array([2, 5, 9], np.int32), embeddings, np.arange(3), [], [])
    labels, scores, _ = best_labels(pictures, classifier, count=2)
    assert labels.tolist() == [[5, 2], [9, 2]]
    assert scores.tolist() == [pytest.approx([1, 0.6]), pytest.approx([1, 0.8])]


def test_confidence_is_the_softmax_of_the_best_label() -> None:
    pictures = np.array([[1, 0], [0.6, 0.8]], dtype=np.float32)
    classifier = Classifier(np.arange(2, dtype=np.int32), np.eye(2, dtype=np.float32), np.arange(2), [], [])
    _, _, confidences = best_labels(pictures, classifier, scales=(10.0, 1.0))
    expected = [[1 / (1 + np.exp(-10 * gap)), 1 / (1 + np.exp(-gap))] for gap in (1, 0.2)]
    assert confidences == pytest.approx(np.array(expected), abs=1e-6)


def test_ranks_give_two_more_forms_and_heights(
    benchmark: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classes = json.loads((benchmark / "classes.json").read_text())
    lineages = [("Laridae", "Larus"), ("Muscicapidae", "Erithacus"), ("Turdidae", "Turdus"), ("Accipitridae", "Milvus")]
    for each, (family, genus) in zip(classes, lineages, strict=True):
        each |= {"class": "Aves", "family": family, "genus": genus, "order": None}
    (benchmark / "classes.json").write_text(json.dumps(classes))
    assert benchmarks.load(benchmark).names["combined"] == [
        "Aves Laridae Larus argentatus with common name herring gull",
        "Aves Muscicapidae Erithacus rubecula with common name robin",
        "Aves Turdidae Turdus migratorius with common name Robin",
        "Aves Accipitridae Milvus milvus",
    ]
    output, _ = run(benchmark, model, tmp_path, monkeypatch, prompts={"bare": ["{c}"], "openai": "openai-7"})
    frame = tables.read_frame(output)
    assert set(frame["nameForm"]) == {"scientific", "common", "taxonomic", "combined"}
    assert set(frame["prompts"]) == {"bare", "openai"}
    for row in frame.itertuples():
        assert row.heights.tolist() == [0 if label == row.label else 4 for label in row.top]  # birds all
        assert 1 / 4 <= row.confidence <= 1 and 1 / 4 <= row.calibrated <= 1
    assert frame.groupby(["nameForm", "prompts"])["temperature"].nunique().eq(1).all()


def test_sets_of_openai_have_their_sizes() -> None:
    assert {name: len(templates) for name, templates in TEMPLATES.items()} == {"openai-80": 80, "openai-7": 7}
    assert all("{c}" in template for templates in TEMPLATES.values() for template in templates)


def test_a_benchmark_of_classnames_and_test_only_has_the_common_form(
    benchmark: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (benchmark / "classes.json").unlink()
    (benchmark / "dev" / "nshards.txt").unlink()
    output, counts = run(benchmark, model, tmp_path, monkeypatch)
    frame = tables.read_frame(output)
    assert set(frame["nameForm"]) == {"common"} and set(frame["split"]) == {"test"}
    assert not counts["devSplit"] and counts["formsWithoutNames"] == ["scientific", "taxonomic", "combined"]
    assert frame[["heights", "calibrated", "temperature"]].isna().all(axis=None) and frame["confidence"].notna().all()


def test_workers_change_nothing(benchmark: Path, model: Path) -> None:
    loaded, pictures = Model(model, torch.device("cpu")), benchmarks.load(benchmark).pictures("test")
    assert np.array_equal(loaded.embed_pictures(pictures, 0, "test"), loaded.embed_pictures(pictures, 2, "test"))


def test_truncated_texts_are_counted(benchmark: Path, model: Path) -> None:
    classifier = Model(model, torch.device("cpu")).classifier(["robin", "bird " * 30], ["{c}"])
    assert classifier.cut == [1]


def test_braces_in_names_are_left_alone(model: Path) -> None:
    assert Model(model, torch.device("cpu")).classifier(["{0} {x}"], ["a {c}"]).labels.tolist() == [0]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "classnames.txt").unlink(), "it has no classnames.txt"),
        (lambda folder: (folder / "classnames.txt").write_text("\n\n"), "names no class"),
        (lambda folder: (folder / "classnames.txt").write_bytes(b"K\xe4fer\n"), "is no text in UTF-8"),
        (lambda folder: (folder / "classes.json").write_text("[1, 2, 3, 4]"), "is no list of classes"),
        (lambda folder: empty(folder / "test"), "test holds no picture"),
        (lambda folder: squeeze(folder / "test" / "0.tar"), r"0\.tar is no whole tar"),
        (lambda folder: relabel(folder / "test", -1), "has label -1"),
        (lambda folder: (folder / "test" / "nshards.txt").unlink(), "has no test split"),
        (lambda folder: (folder / "test" / "1.tar").unlink(), r"1\.tar is missing; nshards.txt announces 2"),
        (lambda folder: (folder / "test" / "nshards.txt").write_text("two"), "must hold one whole number, not 'two'"),
        (
            lambda folder: (folder / "classnames.txt").write_text("a\nb\n"),
            "classes.json has 4 classes, but classnames.txt has 2",
        ),
        (lambda folder: (folder / "classes.json").write_text('{"a": 1}'), "is no list of classes"),
        (lambda folder: cut(folder / "test" / "0.tar", 3000), r"0\.tar is no whole tar"),
        (
            lambda folder: cut(folder / "test" / "0.tar", members(folder / "test" / "0.tar")[2]),
            r"0\.tar .* its end is cut off",
        ),
        (lambda folder: cut(folder / "test" / "0.tar", 0), r"0\.tar is no whole tar"),
    ],
)
def test_damaged_benchmarks_are_told(benchmark: Path, damage: object, message: str) -> None:
    damage(benchmark)  # type: ignore[operator]
    with pytest.raises(UserError, match=message):
        benchmarks.load(benchmark).pictures("test")


def empty(split: Path) -> None:
    (split / "nshards.txt").write_text("1")
    with tarfile.open(split / "0.tar", "w"):
        pass


def relabel(split: Path, label: int) -> None:
    shutil.rmtree(split)
    write_split(split, [label % 3], label_told=label)


def squeeze(tar: Path) -> None:
    tar.write_bytes(gzip.compress(tar.read_bytes()))


def test_a_byte_order_mark_is_no_part_of_the_first_name(benchmark: Path) -> None:
    (benchmark / "classes.json").unlink()
    (benchmark / "classnames.txt").write_bytes("\ufeffgull\r\nrobin\r\nrobin\r\nkite\r\n".encode())
    assert benchmarks.load(benchmark).names == {"common": ["gull", "robin", "robin", "kite"]}


def test_a_tar_that_goes_meanwhile_is_named(benchmark: Path, model: Path) -> None:
    pictures = benchmarks.load(benchmark).pictures("test")
    pictures[0].tar.unlink()
    with pytest.raises(UserError, match=r"0\.tar is gone"):
        Model(model, torch.device("cpu")).embed_pictures(pictures, 0, "test")


def members(path: Path) -> list[int]:
    with tarfile.open(path) as tar:
        return [member.offset for member in tar]


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def test_labels_beyond_the_classes_are_told(benchmark: Path) -> None:
    (benchmark / "classes.json").unlink()
    (benchmark / "classnames.txt").write_text("a\n\nb\n")  # an empty line in the middle is a class without a name
    assert benchmarks.load(benchmark).names == {"common": ["a", None, "b"]}
    with pytest.raises(UserError, match="has label 3, but classnames.txt has 3 lines"):
        benchmarks.load(benchmark).pictures("test")


def test_a_picture_that_cannot_be_decoded_is_named(benchmark: Path, model: Path) -> None:
    pictures = benchmarks.load(benchmark).pictures("test")
    content = bytearray(pictures[0].tar.read_bytes())
    content[pictures[0].offset : pictures[0].offset + 200] = bytes(200)
    pictures[0].tar.write_bytes(content)
    with pytest.raises(UserError, match=r"0\.tar: picture s0000000 can't be decoded"):
        Model(model, torch.device("cpu")).embed_pictures(pictures, 0, "test")


def test_folders_that_are_no_model_are_told(model: Path, tmp_path: Path) -> None:
    (tmp_path / "open_clip_model.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match="is no model that open_clip can load"):
        Model(tmp_path, torch.device("cpu"))
    config = json.loads((model / "open_clip_config.json").read_text())
    for wrong in ([], {"model_cfg": None}, {"model_cfg": {**config["model_cfg"], "embed_dim": 24}}):
        (model / "open_clip_config.json").write_text(json.dumps(wrong))
        with pytest.raises(UserError, match="is no model that open_clip can load"):
            Model(model, torch.device("cpu"))
    (model / "open_clip_model.safetensors").unlink()
    with pytest.raises(UserError, match="holds no weights"):
        Model(model, torch.device("cpu"))


def test_a_pickle_of_weights_is_not_read(model: Path) -> None:
    (model / "open_clip_model.safetensors").unlink()
    for name in ("open_clip_pytorch_model.bin", "weights.pt"):
        (model / name).write_bytes(b"cos\nsystem\n(S'touch read'\ntR.")
        with pytest.raises(UserError, match=f"only a pickle .{name}., which could run code"):
            Model(model, torch.device("cpu"))
        (model / name).unlink()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "hf-hub:imageomics/bioclip",
            r"fetch_model.py hf-hub:imageomics/bioclip models/bioclip; then write models/bioclip",
        ),
        ("ViT-B-32/openai", r"fetch_model.py ViT-B-32/openai models/ViT-B-32-openai;"),
        ("ViT-B-32/openal", r"no weights openal of ViT-B-32; it has: openai, "),
        ("ViT-B32/openai", r"neither a folder nor hf-hub:OWNER/NAME nor, as ViT-B-32/openai, one of open_clip's"),
        ("no/such/folder", "is no model: it is neither a folder"),
    ],
)
def test_public_models_that_are_not_here_say_what_to_type(
    name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kg2clip.openclip.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=message):
        openclip.resolve(name)


def test_a_package_that_a_model_wants_is_named(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wanting(name: str) -> None:
        raise ModuleNotFoundError("No module named 'transformers'", name="transformers")

    monkeypatch.setattr(open_clip, "get_tokenizer", wanting)
    with pytest.raises(UserError, match="pip install transformers"):
        Model(model, torch.device("cpu"))


def test_a_model_in_the_hubs_cache_is_found_and_loaded(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "models--someone--tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("a" * 40)
    shutil.copytree(model, repository / "snapshots" / ("a" * 40))
    monkeypatch.setattr("kg2clip.openclip.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    hub = Model("hf-hub:someone/tiny", torch.device("cpu"))
    local = Model(model, torch.device("cpu"))
    assert np.array_equal(hub.embed_texts(["a robin"]), local.embed_texts(["a robin"]))
    assert np.array_equal(
        local.embed_texts(["a robin"]), Model(f"local-dir:{model}", local.device).embed_texts(["a robin"])
    )
