from __future__ import annotations

import math
import socket
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
    ],
)
def test_what_a_cluster_cannot_give_is_an_error(slurm: Path, changes: dict[str, object], says: str) -> None:
    write_profile(slurm, **changes)
    findings = list(doctor.check_profile("slurm", config(), slurm))
    wrong = [finding for finding in findings if finding.level == "error"]
    assert len(wrong) >= 1 and says in told(wrong)


def test_a_broken_or_unknown_profile_is_told(slurm: Path) -> None:
    assert "known: slurm" in told(list(doctor.check_profile("slrm", config(), slurm)))
    (slurm / "profiles" / "slurm" / "config.yaml").write_text("a: [")
    assert "no valid YAML" in told(list(doctor.check_profile("slurm", config(), slurm)))


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


def test_rules_are_those_of_the_workflow() -> None:
    assert {"export_entities", "fetch_batch", "train_model"} <= doctor.rule_names()


def test_a_full_disk_and_a_locked_temporary_folder_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "FREE_GIGABYTES", 10**9)
    monkeypatch.setattr(doctor, "FREE_INODES", 10**15)
    monkeypatch.setattr(doctor.tempfile, "gettempdir", lambda: str(tmp_path / "absent"))
    findings = list(doctor.check_disk(config(), tmp_path))
    assert levels(findings)[0] == "warning" and levels(findings)[-1] == "error"
    assert "TMPDIR" in told(findings)
