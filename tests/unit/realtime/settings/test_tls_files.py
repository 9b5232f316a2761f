"""Files of certificates that settings name: what is wrong with them is told, and nothing is quoted."""

from __future__ import annotations

from pathlib import Path

import pytest

from realtime.settings.tls_files import why_no_authorities, why_no_certificate, why_unreadable
from tests.redis_servers.certificates import Authority

RUBBISH = "-----BEGIN CERTIFICATE-----\nsecret of somebody\n-----END CERTIFICATE-----\n"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A directory with an authority, two of whom it certified, and a file that holds no certificate."""
    authority = Authority()
    (tmp_path / "ca.pem").write_text(authority.certificate)
    for name in ("ours", "theirs"):
        certificate, key = authority.certify(name)
        (tmp_path / f"{name}.pem").write_text(certificate)
        (tmp_path / f"{name}.key").write_text(key)
    (tmp_path / "rubbish.pem").write_text(RUBBISH)
    return tmp_path


def test_what_is_as_it_should_be_is_taken(files: Path) -> None:
    assert why_unreadable(str(files / "ca.pem")) is None
    assert why_no_authorities(str(files / "ca.pem")) is None
    assert why_no_certificate(str(files / "ours.pem"), str(files / "ours.key"), "") is None


def test_a_certificate_and_its_key_may_be_one_file(files: Path) -> None:
    both = files / "both.pem"
    both.write_text((files / "ours.pem").read_text() + (files / "ours.key").read_text())
    assert why_no_certificate(str(both), None, "") is None


@pytest.mark.parametrize(
    ("name", "why"),
    [("nosuch", "No such file or directory"), ("", "Is a directory"), ("a\0b", "not a path")],
    ids=["missing", "directory", "no path"],
)
def test_what_cannot_be_read_is_told_with_its_path(files: Path, name: str, why: str) -> None:
    path = str(files / name)
    assert why_unreadable(path) == why
    assert why_no_authorities(path) == f"{path}: {why}"
    assert why_no_certificate(path, str(files / "ours.key"), "") == f"{path}: {why}"
    assert why_no_certificate(str(files / "ours.pem"), path, "") == f"{path}: {why}"


def test_what_is_no_certificate_is_told_and_not_quoted(files: Path) -> None:
    path, key = str(files / "rubbish.pem"), str(files / "ours.key")
    assert why_no_authorities(path) == f"{path}: no certificates in PEM"
    told = why_no_certificate(path, key, "hunter2")
    assert told == f"{path}: no certificate and key in PEM, or the key has another password"


def test_a_key_that_belongs_to_another_certificate_is_told(files: Path) -> None:
    path = str(files / "ours.pem")
    told = why_no_certificate(path, str(files / "theirs.key"), "")
    assert told == f"{path}: the key belongs to another certificate"
