from __future__ import annotations

import errno
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from unmuffle.errors import MediaNotFoundError, ModelError, OutputError  # noqa: E402
from unmuffle.train import checkpoint  # noqa: E402


def test_round_trip(tmp_path: Path) -> None:
    state = {"recipe": {"net": "dense"}, "net": {"w": torch.arange(5.0)}, "step": 7}
    checkpoint.save(tmp_path / "a.pt", state)
    back = checkpoint.load(tmp_path / "a.pt")
    assert back["step"] == 7
    assert torch.equal(back["net"]["w"], state["net"]["w"])


@pytest.mark.parametrize("kind", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("write failed")])
def test_a_full_disk_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Exception) -> None:
    checkpoint.save(tmp_path / "a.pt", {"recipe": {}, "step": 1})

    def full(state: object, out: object) -> None:
        out.write(b"half of it")
        raise kind

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OutputError, match="the old one is intact"):
        checkpoint.save(tmp_path / "a.pt", {"recipe": {}, "step": 2})
    monkeypatch.undo()
    assert checkpoint.load(tmp_path / "a.pt")["step"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"]


def test_what_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(MediaNotFoundError):
        checkpoint.load(tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("hello")
    torch.save({"weights": 1}, tmp_path / "foreign.pt")
    checkpoint.save(tmp_path / "cut.pt", {"recipe": {}, "w": torch.zeros(1000)})
    (tmp_path / "cut.pt").write_bytes((tmp_path / "cut.pt").read_bytes()[:1500])
    for name in ("text.pt", "foreign.pt", "cut.pt"):
        with pytest.raises(ModelError, match="checkpoint"):
            checkpoint.load(tmp_path / name)


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("this must not run",))


def test_reading_runs_no_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"format": 1, "recipe": {}, "net": _Evil()}, tmp_path / "evil.pt")
    with pytest.raises(ModelError):
        checkpoint.load(tmp_path / "evil.pt")
    assert "must not run" not in capsys.readouterr().out
