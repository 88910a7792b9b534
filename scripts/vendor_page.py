"""Fetches the one library that the web page uses and puts it into the package: python scripts/vendor_page.py

The result is committed, so that ``pip install`` needs neither npm nor the network. To change the version, change
``VERSION``, run this, look at the page, and commit both. ``--check`` compares what is committed with npm's.
Needs npm on the path (its registry is the only address that is asked).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGE, VERSION = "wavesurfer.js", "8.0.1"
FILES = {
    "package/dist/wavesurfer.esm.js": "wavesurfer.js",  # minified by its makers
    "package/dist/plugins/regions.esm.js": "regions.js",
    "package/LICENSE": "LICENSE",
}
VENDOR = Path(__file__).resolve().parents[1] / "src" / "unmuffle" / "server" / "page" / "vendor"


def fetched() -> dict[str, bytes]:
    """The files of the package, by the name that they get here."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", "--silent", f"{PACKAGE}@{VERSION}", "--pack-destination", folder]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # npm checks the registry's digest
        (archive,) = Path(folder).glob("*.tgz")
        with tarfile.open(archive) as tar:
            found = {name: tar.extractfile(member) for member, name in FILES.items()}
            return {name: file.read() for name, file in found.items() if file is not None}


def main() -> int:
    """Write, or compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only compare with what is committed")
    check = parser.parse_args().check
    files = fetched() | {"VERSION": f"{PACKAGE} {VERSION}\n".encode()}
    VENDOR.mkdir(exist_ok=True)
    held = {name: (VENDOR / name).read_bytes() if (VENDOR / name).is_file() else None for name in files}
    different = [name for name, data in files.items() if held[name] != data]
    if check:
        print(f"different from {PACKAGE} {VERSION}: {', '.join(different) or 'nothing'}")
        return 1 if different else 0
    for name, data in files.items():
        (VENDOR / name).write_bytes(data)
    print(f"{VENDOR}: {PACKAGE} {VERSION}, {len(different)} file(s) changed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
