from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from unmuffle.train.precision import computes_bfloat16  # noqa: E402


@pytest.mark.parametrize(
    ("has", "wanted"),
    [
        ({"avx512_f": True, "avx512_bf16": False}, False),
        ({"avx512_f": True, "avx512_bf16": True}, True),
        ({"amx_tile": True, "amx_bf16": True}, True),
        ({"neon": True, "bf16": True}, True),
        ({"neon": True}, False),
    ],
)
def test_what_a_processor_says(has: dict[str, bool], wanted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has, raising=False)
    assert computes_bfloat16(torch.device("cpu")) is wanted


def test_where_it_does_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert computes_bfloat16(torch.device("cpu"))
