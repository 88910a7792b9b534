"""Who may import whom, and what a light import must not bring along."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[1] / "src" / "unmuffle"

# Each room may import itself and the rooms named here. Imports inside functions count as well.
CORE = {"errors": set(), "assets": set()}
CORE["io"] = {"errors"}
CORE["signal"] = {"errors"}
CORE["noise"] = {"errors", "signal"}
CORE["enhancers"] = {"errors", "signal", "noise"}
CORE["engine"] = CORE["enhancers"] | {"enhancers", "io"}
CORE["cache"] = CORE["engine"] | {"engine"}
LIBRARY = set(CORE)
SIDE = {"pictures", "degrade", "evaluate", "data", "train", "export", "quality"}
RULES = {
    **CORE,
    **{room: LIBRARY | SIDE for room in SIDE},
    **{room: LIBRARY | SIDE for room in ("live", "server", "batch", "integrations")},
    "cli": LIBRARY | SIDE | {"live", "server", "batch"},  # its commands start them
}
FAMILIES = {"spectral", "kalman", "repair", "neural", "dereverb", "spatial", "echo", "phone"}


def modules():
    return sorted(p for p in SRC.rglob("*.py") if p.parent != SRC)


def imported(path):
    """Absolute names of all modules that a file imports, at the top or inside functions."""
    package = ["unmuffle", *path.relative_to(SRC).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            name = [*base, *(node.module.split(".") if node.module else [])]
            yield from ([*name, alias.name] for alias in node.names)


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(SRC)))
def test_imports_go_one_way(path):
    room = path.relative_to(SRC).parts[0].removesuffix(".py")
    assert room in RULES, f"add the new room {room!r} to the rule"
    for name in imported(path):
        if name[0] != "unmuffle" or len(name) < 2:
            continue
        target = name[1]
        if not (SRC / target).is_dir() and not (SRC / f"{target}.py").is_file():
            continue  # a name of the package itself, such as __version__
        assert target == room or target in RULES[room], f"{path.name} in {room} imports {'.'.join(name)}"


@pytest.mark.parametrize("path", [p for p in modules() if p.parent.name in FAMILIES], ids=lambda p: p.stem)
def test_families_do_not_know_each_other(path):
    family = path.parent.name
    for name in imported(path):
        if name[:2] == ["unmuffle", "enhancers"] and len(name) > 2 and name[2] in FAMILIES:
            assert name[2] == family, f"{family} imports {name[2]}"


HEAVY = ["webrtcvad", "torch", "onnxruntime", "sounddevice", "matplotlib", "numba", "pesq", "pystoi", "pyroomacoustics", "typer", "rich", "av", "diskcache"]


@pytest.mark.parametrize(
    "statement",
    ["import unmuffle", "import unmuffle.enhancers.registry as r; r.load('identity').stream(16000)"],
)
def test_a_light_import_is_light(statement):
    code = f"{statement}\nimport sys\nprint([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_exported_name_is_there():
    import unmuffle

    for name in unmuffle.__all__:
        assert getattr(unmuffle, name)
    assert set(unmuffle.__all__) <= set(dir(unmuffle))
    with pytest.raises(AttributeError):
        _ = unmuffle.no_such_name


def test_the_package_map_names_every_room():
    import unmuffle

    rooms = {p.name for p in SRC.iterdir() if p.is_dir() and (p / "__init__.py").is_file()}
    assert {room for room in rooms if f"``{room}``" in (unmuffle.__doc__ or "")} == rooms
