"""Other programs may hold the processor for seconds: a device that is silent meanwhile has not gone, and a method that
falls behind is not too slow."""

import pytest


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    for name in ("FIRST_S", "SILENT_S", "STALL_S", "BEHIND_S"):
        monkeypatch.setattr(f"unmuffle.live.session.{name}", 120.0)
