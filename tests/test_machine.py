"""What is free here, and within a container that may use less."""

from pathlib import Path

import pytest

from clips import machine

MIB = 1024**2


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A container's own files."""
    monkeypatch.setattr(machine, "_GROUP", tmp_path)
    (tmp_path / "memory.current").write_text(f"{70 * MIB}\n")
    (tmp_path / "memory.stat").write_text(
        f"anon {20 * MIB}\nfile {50 * MIB}\nshmem {2 * MIB}\ninactive_file {40 * MIB}\nactive_file {8 * MIB}\n"
    )
    return tmp_path


def test_in_a_container_copies_of_files_count_as_free(group: Path) -> None:
    (group / "memory.max").write_text(f"{100 * MIB}\n")
    assert machine.free_ram() == (100 - 70 + 40 + 8) * MIB


def test_a_container_without_a_limit_has_what_the_machine_has(group: Path) -> None:
    (group / "memory.max").write_text("max\n")
    assert machine.free_ram() > 100 * MIB
    (group / "memory.max").unlink()
    assert machine.free_ram() > 100 * MIB
