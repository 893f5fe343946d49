from __future__ import annotations

import math
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from kg2clip import settings
from kg2clip.operations import doctor
from kg2clip.operations.doctor import Partition
from kg2clip.operations.findings import Finding

SINFO = """\
cpu|up|64+|256000+|(null)|2-00:00:00
gpu|up|32|128000|gpu:a100:4(S:0-1)|1-00:00:00
gpu|up|16|64000|gpu:v100:2,mps:100|1-00:00:00
old|down|8|32000|gpu:2|infinite
debug|up|8|32000|gpu:2|30:00
"""


def config(**changes: object) -> settings.Settings:
    return settings.complete({"project": "x", "knowledge": {"roots": ["Apidae"]}, **changes}, "test")


def levels(findings: list[Finding]) -> list[str]:
    return [finding.level for finding in findings]


def told(findings: list[Finding]) -> str:
    return "\n".join(f"{finding.level} {finding.about}: {finding.says}" for finding in findings)


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone with a profile slurm, on a login node whose sinfo says SINFO."""
    (tmp_path / "profiles" / "slurm").mkdir(parents=True)
    (tmp_path / "rules").symlink_to(settings.ROOT / "rules")
    sinfo = tmp_path / "sinfo"
    sinfo.write_text(f"#!/bin/sh\ncat <<'END'\n{SINFO}END\n")
    sinfo.chmod(0o755)
    (tmp_path / "sacct").write_text("#!/bin/sh\necho JobID\n")
    (tmp_path / "sacct").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def write_profile(root: Path, **changes: object) -> None:
    shipped = yaml.safe_load((settings.ROOT / "profiles" / "slurm" / "config.yaml").read_text())
    (root / "profiles" / "slurm" / "config.yaml").write_text(yaml.safe_dump({**shipped, **changes}))


def test_partitions_are_read_as_sinfo_writes_them() -> None:
    assert doctor.read_partitions(SINFO) == {
        "cpu": Partition(64, 256000, 0, 2880),
        "gpu": Partition(32, 128000, 4, 1440),  # of its largest nodes
        "debug": Partition(8, 32000, 2, 30),
    }
    assert doctor.read_partitions("a|up|1|1|(null)|infinite")["a"].minutes == math.inf


def test_the_shipped_profile_fits_a_cluster_that_has_its_partitions(slurm: Path) -> None:
    write_profile(slurm)
    findings = list(doctor.check_profile("slurm", config(), slurm))
    assert set(levels(findings)) == {"ok"}, told(findings)
    assert list(doctor.check_profile(str(slurm / "profiles" / "slurm"), config(), slurm)), (
        "a path, as snakemake takes it"
    )


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"set-resources": {"train_modl": {"gpu": 1}}}, "rules that do not exist: train_modl"),
        ({"resources": ["lane_wikimedia=1", "lane_web=4"]}, "Add under resources: lane_inaturalist=1"),
        ({"default-resources": {"slurm_partition": "batch"}}, "no partition batch that is up; it has: cpu, debug, gpu"),
        ({"default-resources": {"slurm_partition": "old"}}, "no partition old that is up"),
        ({"set-resources": {"train_model": {"slurm_partition": "gpu", "gpu": 8}}}, "can't give 8 GPUs (it has 4)"),
        ({"set-resources": {"train_model": {"slurm_partition": "cpu", "gpu": 1}}}, "can't give 1 GPUs (it has 0)"),
        (
            {"set-resources": {"train_model": {"slurm_partition": "gpu", "gpu": 2, "cpus_per_gpu": 32}}},
            "can't give 64 CPUs (it has 32)",
        ),
        (
            {"set-resources": {"train_model": {"slurm_partition": "gpu", "mem_mb": "256000 * attempt"}}},
            "can't give 256000 MB of memory (it has 128,000)",
        ),
        (
            {"set-resources": {"train_model": {"slurm_partition": "debug", "runtime": 60, "mem_mb": 1000}}},
            "can't give 60 minutes (it has 30)",
        ),
        (
            {"default-resources": {"slurm_partition": "debug"}},
            "slurm, pack_dataset: partition debug can't give 240 minutes",
        ),
        ({"default-resources": {"slurm_partition": "debug"}}, "slurm, decide_pictures: partition debug can't give"),
        ({"default-resources": ["slurm_partition=batch", "mem_mb=4000"]}, "no partition batch that is up"),
        ({"set-resources": ["train_model:slurm_partition=gpu", "train_model:gpu=8"]}, "can't give 8 GPUs"),
        ({"set-resources": {"train_model": {"slurm_partition": "gpu", "gpu": "8 if big else 4"}}}, "can't give 8 GPUs"),
        (
            {"resources": {"lane_wikimedia": 0, "lane_inaturalist": 1, "lane_web": 1}},
            "lane_wikimedia must be 1 or more",
        ),
        ({"set-resource": {}}, "set-resource is no option of snakemake; did you mean set-resources?"),
        ({"job": 3, "cores": "all"}, "job is no option of snakemake; did you mean jobs?"),
    ],
)
def test_what_a_cluster_cannot_give_is_an_error(slurm: Path, changes: dict[str, object], says: str) -> None:
    write_profile(slurm, **changes)
    findings = list(doctor.check_profile("slurm", config(), slurm))
    wrong = [finding for finding in findings if finding.level == "error"]
    assert len(wrong) >= 1 and says in told(wrong)


def write_profile_that_chooses(root: Path, partitions: str) -> None:
    """The shipped profile without a named partition, and a table from which the plugin takes one for each rule."""
    shipped = yaml.safe_load((settings.ROOT / "profiles" / "slurm" / "config.yaml").read_text())
    for wanted in (shipped["default-resources"], *shipped["set-resources"].values()):
        wanted.pop("slurm_partition", None)
    (root / "partitions.yaml").write_text(partitions)
    write_profile(root, **shipped, **{"slurm-partition-config": str(root / "partitions.yaml")})


CPU = "cpu: {max_runtime: 2880, max_mem_mb: 256000, max_threads: 64}"
GPU = "gpu: {max_runtime: 1440, max_mem_mb: 128000, max_threads: 32, max_gpu: 4}"


def test_partitions_that_the_plugin_chooses_are_looked_at(slurm: Path) -> None:
    write_profile_that_chooses(slurm, f"partitions: {{{CPU}, {GPU}}}")
    findings = list(doctor.check_profile("slurm", config(), slurm))
    assert levels(findings) == ["ok"] * len(findings) and "have what the" in told(findings)


@pytest.mark.parametrize(
    ("partitions", "says"),
    [
        (
            f"partitions: {{{CPU}, gpu: {{max_threads: 32}}}}",
            "train_model: no partition in .* takes threads=.*mem_mb=64000, .*gpu=1",
        ),
        (f"partitions: {{{CPU}, gpu: {{max_threads: 32}}}}", "default one. A partition without max_gpu counts as one"),
        ("partitions: {cpu: {max_runtime: 60}}", "decode_batch: .* default one$"),
        (f"partitions: {{{GPU}, long: {{max_runtime: 9999}}}}", "no partition long that is up"),
        (f"partitions: {{{CPU}, {GPU.replace('4', '8')}}}", None),
        ("a: [", "partitions.yaml can't be read"),
        ("partitions: 3", "partitions.yaml can't be read"),
        ("partitions: {cpu: 3}", "partitions.yaml can't be read"),
        ("partitions: {cpu: {max_runtime: soon}}", "partitions.yaml can't be read"),
    ],
)
def test_a_table_of_partitions_that_fits_no_rule_is_told(slurm: Path, partitions: str, says: str | None) -> None:
    write_profile_that_chooses(slurm, partitions)
    wrong = [finding for finding in doctor.check_profile("slurm", config(), slurm) if finding.level == "error"]
    assert re.search(says, told(wrong), re.MULTILINE) if says else wrong == []


def test_a_table_of_partitions_that_is_not_there_is_told(slurm: Path) -> None:
    write_profile_that_chooses(slurm, "partitions: {}")
    (slurm / "partitions.yaml").unlink()
    assert "not found" in told(list(doctor.check_profile("slurm", config(), slurm)))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "is no valid YAML: line 2"),
        ("cores: all\n\tjobs: 3\n", "line 2, column 1: a tab"),
        ("jobs: 1\njobs: 2\n", "the key jobs stands twice"),
        ("- cores", "holds no keys with values"),
        ("", "holds no keys with values"),
        ("cores: all\n1: 2\n", "1 is no option of snakemake"),
    ],
)
def test_a_broken_profile_is_told(slurm: Path, text: str, says: str) -> None:
    (slurm / "profiles" / "slurm" / "config.yaml").write_text(text)
    assert says in told(list(doctor.check_profile("slurm", config(), slurm)))


def test_an_unknown_profile_is_told_with_those_that_there_are(slurm: Path) -> None:
    write_profile(slurm)
    assert "known: slurm" in told(list(doctor.check_profile("slrm", config(), slurm)))


def test_a_controller_that_does_not_answer_is_told(slurm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "ASK_SECONDS", 0.2)
    write_profile(slurm)
    (slurm / "sinfo").write_text("#!/bin/sh\nexec sleep 60\n")
    assert "sinfo gives no answer within 0.2 seconds" in told(list(doctor.check_profile("slurm", config(), slurm)))


@pytest.mark.parametrize(
    ("account", "known", "level", "says"),
    [
        ("bees", "bees\nwasps\n", "ok", "bees"),
        ("BEES", "bees\n", "ok", "BEES"),
        ("ants", "bees\nwasps\n", "error", "you may not use ants, but: bees, wasps"),
        (None, "bees\nwasps\n", "warning", "yours are bees, wasps. Set slurm_account to one of them"),
        (None, "bees\nbees\n", "ok", "bees, your only one"),
        ("bees", "", "warning", "names no accounts of yours"),
        (None, "", None, ""),
    ],
)
def test_the_account_is_one_that_you_may_use(
    slurm: Path, account: str | None, known: str, level: str | None, says: str
) -> None:
    write_profile(
        slurm, **{"default-resources": {"slurm_partition": "cpu", **({"slurm_account": account} if account else {})}}
    )
    (slurm / "sacctmgr").write_text(f"#!/bin/sh\nprintf '%s' '{known}'\n")
    (slurm / "sacctmgr").chmod(0o755)
    found = [f for f in doctor.check_profile("slurm", config(), slurm) if f.about == "Slurm account"]
    assert levels(found) == ([level] if level else []) and says in told(found)


@pytest.mark.parametrize(
    ("sacct", "changes", "fails"),
    [
        ("echo 'Slurm accounting storage is disabled' >&2; exit 1", {}, True),
        ("echo 'Slurm accounting storage is disabled' >&2; exit 1", {"slurm-status-command": "squeue"}, False),
        ("echo JobID", {}, False),
    ],
)
def test_a_cluster_that_keeps_no_records_is_asked_by_squeue(
    slurm: Path, sacct: str, changes: dict[str, object], fails: bool
) -> None:
    (slurm / "sacct").write_text(f"#!/bin/sh\n{sacct}\n")
    write_profile(slurm, **changes)
    said = told(list(doctor.check_profile("slurm", config(), slurm)))
    assert ("error Slurm accounting" in said and "slurm-status-command: squeue" in said) == fails


def test_no_slurm_here_is_an_error(slurm: Path) -> None:
    write_profile(slurm)
    (slurm / "sinfo").write_text("#!/bin/sh\nexit 1\n")
    assert "is its controller up?" in told(list(doctor.check_profile("slurm", config(), slurm)))
    (slurm / "sinfo").unlink()
    if not any(Path(folder, "sinfo").exists() for folder in ("/usr/bin", "/bin")):
        assert "no sinfo here" in told(list(doctor.check_profile("slurm", config(), slurm)))


def test_packages_are_held_against_the_lock(tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text("# a comment\nPyYAML==0.1\nno-such-package==1.0  # why\n")
    findings = list(doctor.check_packages(lock))
    assert levels(findings) == ["error", "warning"]
    assert "no-such-package not installed" in findings[0].says and "PyYAML" in findings[1].says
    assert levels(list(doctor.check_packages())) == ["ok"]
    lock.write_text('no-such-package==1.0 ; platform_system == "Plan9"\n')
    assert levels(list(doctor.check_packages(lock))) == ["ok"], "a package of other machines is not missed"


def test_a_contact_is_needed_for_public_hosts_only() -> None:
    assert levels(list(doctor.check_contact(config()))) == ["error"]
    assert levels(list(doctor.check_contact(config(contact="me@example.org")))) == ["ok"]
    mirror = {"endpoint": "http://query.mirror.test/query", "roots": ["Aves"]}
    commons = {"sources": {"commons": {"api": "http://commons.mirror.test/w/api.php"}}}
    assert levels(list(doctor.check_contact(config(knowledge=mirror, search=commons)))) == []


def test_a_missing_key_is_named_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = config(search={"sources": {"brave": {}}})
    monkeypatch.delenv("BRAVE_API_KEY", raising=False)
    assert "BRAVE_API_KEY" in told(list(doctor.check_keys(wanted)))
    monkeypatch.setenv("BRAVE_API_KEY", "secret-value")
    findings = list(doctor.check_keys(wanted))
    assert levels(findings) == ["ok"] and "secret-value" not in told(findings)


def test_each_key_of_a_source_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GBIF_USER", "me")
    monkeypatch.delenv("GBIF_PASSWORD", raising=False)
    findings = list(doctor.check_keys(config(search={"sources": {"gbifdownload": {}}})))
    assert levels(findings) == ["ok", "error"] and "GBIF_PASSWORD" in findings[1].says


def test_baselines_that_are_not_here_are_told_with_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kg2clip.openclip.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    (tmp_path / "open_clip_model.safetensors").touch()
    wanted = config(evaluate={"baselines": {"openai": "ViT-B-32/openai", "mine": str(tmp_path)}})
    findings = list(doctor.check_baselines(wanted))
    assert levels(findings) == ["error", "ok"] and "fetch_model.py ViT-B-32/openai" in findings[0].says
    assert not list(doctor.check_baselines(config()))


def test_reach_tries_a_connection_and_says_where_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        places = f'{{"up.test": "127.0.0.1:{port}", "down.test": "127.0.0.1:1"}}'
        monkeypatch.setenv("KG2CLIP_RESOLVE", places)
        wanted = config(
            knowledge={"endpoint": "http://up.test/query", "roots": ["Aves"]},
            search={"sources": {"commons": {"api": "http://down.test/w/api.php"}}},
        )
        assert levels(list(doctor.check_reach(wanted))) == ["ok", "error"]


def test_an_address_that_is_none_is_told() -> None:
    wanted = config()
    wanted["knowledge"]["endpoint"] = "http:///"
    assert "is no web address" in told(list(doctor.check_reach({**wanted, "search": {"sources": {}}})))


def test_rules_are_those_of_the_workflow() -> None:
    needs = doctor.rule_needs()
    assert {"export_entities", "fetch_batch", "train_model"} <= needs.keys() == doctor.rule_names()
    assert needs["pack_dataset"] == {"mem_mb": "16000", "runtime": "240", "cpus_per_task": "2"}
    assert needs["fetch_batch"] == {"mem_mb": "4000", "runtime": "1440", "cpus_per_task": 1}


def test_the_key_of_a_language_model_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {"base_url": "http://localhost:8000/v1", "model": "m", "key_variable": "MY_KEY"}
    wanted = config(knowledge={"roots": ["Apidae"], "language_model": asked})
    monkeypatch.delenv("MY_KEY", raising=False)
    assert "warning language model: MY_KEY is not set" in told(list(doctor.check_keys(wanted)))
    monkeypatch.setenv("MY_KEY", "x")
    assert not list(doctor.check_keys(wanted))


def test_files_that_the_config_names_are_looked_for(tmp_path: Path) -> None:
    gone = str(tmp_path / "my table.csv")
    wanted = config(
        knowledge={"roots": ["Apidae"], "attributes": {"file": gone}, "wordnet": gone},
        search={"sources": {"table": {"path": gone}, "commons": {}}},
        curate={"fit_model": f"local-dir:{tmp_path}"},
    )
    found = list(doctor.check_paths(wanted))
    keys = ["search.sources.table", "knowledge.attributes.file", "knowledge.wordnet", "curate.fit_model"]
    assert [finding.about for finding in found] == keys and set(levels(found)) == {"error"}
    (tmp_path / "my table.csv").touch()
    (tmp_path / "open_clip_config.json").touch()
    assert not list(doctor.check_paths(wanted)) and not list(doctor.check_paths(config()))
    wanted["curate"] |= {"fit_model": "ViT-B-32", "fit_weights": str(tmp_path / "none.pt")}
    assert [finding.about for finding in doctor.check_paths(wanted)] == ["curate.fit_weights"]


def test_what_a_run_starts_from_is_looked_for(tmp_path: Path) -> None:
    experiments = {"main": {"recipe": "none"}, "tuned": {"recipe": "demo", "pretrained": f"local-dir:{tmp_path}"}}
    assert levels(list(doctor.check_recipes(config(train={"experiments": experiments})))) == ["error", "error"]
    assert not list(doctor.check_recipes(config()))
    wanted = config(evaluate={"benchmarks": {"mine": {"path": str(tmp_path)}}})
    assert "prepare_benchmark.py" in told(list(doctor.check_benchmarks(wanted)))
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "nshards.txt").write_text("1")
    assert not list(doctor.check_benchmarks(wanted))


def test_the_folder_is_a_clone_that_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert levels(list(doctor.check_place(config(), tmp_path, tmp_path))) == ["ok"]
    assert f"type: cd {tmp_path / 'clone'}" in told(list(doctor.check_place(config(), tmp_path, tmp_path / "clone")))
    (tmp_path / "results").write_text("a file")
    assert "can't be written" in told(list(doctor.check_place(config(), tmp_path, tmp_path)))
    monkeypatch.setattr("os.access", lambda *_: False)
    (tmp_path / "results").unlink()
    assert levels(list(doctor.check_place(config(), tmp_path, tmp_path))) == ["error"]
    monkeypatch.setenv("HOME", str(tmp_path))
    assert levels(list(doctor.check_home(tmp_path / "kg2clip"))) == ["warning"]
    assert not list(doctor.check_home(tmp_path.parent))


def test_the_program_ends_with_a_line_and_the_right_status(tmp_path: Path) -> None:
    wrong = {"project": "x", "knowledge": {"roots": ["Apidae"]}, "curate": {"min_sid": 1}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(wrong))
    command = [sys.executable, "scripts/doctor.py", "--offline", "--config", str(tmp_path / "config.yaml")]
    done = subprocess.run(command, cwd=settings.ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "is no key of the config; did you mean min_side?" in done.stdout
    assert "1 of 3 findings would stop the run" in done.stdout


def test_a_python_without_our_packages_is_told_what_to_type() -> None:
    command = [sys.executable, "-S", "-E", "-s", str(settings.ROOT / "scripts" / "doctor.py")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "not installed" in done.stderr and "source .venv/bin/activate" in done.stderr


def test_a_full_disk_and_a_locked_temporary_folder_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "FREE_GIGABYTES", 10**9)
    monkeypatch.setattr(doctor, "FREE_INODES", 10**15)
    monkeypatch.setattr(doctor.tempfile, "gettempdir", lambda: str(tmp_path / "absent"))
    findings = list(doctor.check_disk(config(), tmp_path))
    assert levels(findings)[0] == "warning" and levels(findings)[-1] == "error"
    assert "TMPDIR" in told(findings)
    monkeypatch.setattr(doctor, "FULL_GIGABYTES", 10**9)
    monkeypatch.setattr(doctor, "FULL_INODES", 10**15)
    assert "error disk" in told(list(doctor.check_disk(config(), tmp_path)))
