"""Whose commit is reported: this project's alone."""

import subprocess

import pytest

from hpe.io import environment as module
from hpe.io.environment import PROJECT, commit, environment


def git(folder, *arguments):
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A repository with one commit; `hpe` seems to lie at its root."""
    git(tmp_path, "init", "-q")
    (tmp_path / "pyproject.toml").write_text(f'[project]\nname = "{PROJECT}"\n')
    (tmp_path / ".gitignore").write_text(".venv\n")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "first")
    monkeypatch.setattr(module, "ROOT", tmp_path.resolve())
    monkeypatch.setattr(module.metadata, "version", lambda package: "9.8.7")
    return tmp_path


def test_a_checkout_of_this_project_tells_its_commit(checkout):
    head = git(checkout, "rev-parse", "HEAD")
    assert head.startswith(commit())
    assert environment()["commit"] == commit()
    (checkout / "pyproject.toml").write_text(f'[project]\nname = "{PROJECT}"\nversion = "2"\n')
    assert commit().endswith("-dirty")


def test_site_packages_inside_somebody_elses_repository_tell_the_version(checkout, monkeypatch):
    packages = checkout / ".venv" / "lib" / "site-packages"
    packages.mkdir(parents=True)
    monkeypatch.setattr(module, "ROOT", packages.resolve())
    assert commit() == "version 9.8.7"


@pytest.mark.parametrize("text", ['[project]\nname = "theirs"\n', "no toml [", ""])
def test_a_copy_at_the_root_of_another_project_tells_the_version(checkout, text):
    (checkout / "pyproject.toml").write_text(text)
    assert commit() == "version 9.8.7"


def test_without_git_or_installation_it_is_unknown(tmp_path, monkeypatch):
    def missing(package):
        raise module.metadata.PackageNotFoundError(package)

    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module.metadata, "version", missing)
    assert commit() == "unknown"
