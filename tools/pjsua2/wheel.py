"""Pack the built extension into a wheel, with nothing but the standard library.

A wheel is a zip archive with three text files beside its content (PEP 427 and
the "binary distribution format" page of the packaging specifications), so that
the build needs neither setuptools nor the network.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import sys
import sysconfig
import zipfile
from pathlib import Path

_EPOCH = (1980, 1, 1, 0, 0, 0)


def abi_tag() -> str:
    """Return ``cp311-cp311-linux_x86_64`` and the like for the running Python."""
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    return f"{python}-{python}{sys.abiflags}-{platform}"


def record_line(name: str, content: bytes) -> str:
    """Return the RECORD line of one file."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(content)}\n"


def pack(files: dict[str, bytes], version: str, tag: str, directory: Path) -> Path:
    """Write the wheel and return its path; the same input gives the same bytes.

    Args:
        files: Content by name inside the archive.
        version: Version with its local part, e.g. ``2.17+recproxy.0123abcd``.
        tag: Compatibility tag.
        directory: Where the wheel goes.
    """
    info = f"pjsua2-{version}.dist-info"
    content = dict(files)
    content[f"{info}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: pjsua2\nVersion: {version}\n"
        "Summary: PJSIP's pjsua2 with recproxy's opaque-SDP module\nLicense: GPL-2.0-or-later\n"
    ).encode()
    content[f"{info}/WHEEL"] = (
        f"Wheel-Version: 1.0\nGenerator: recproxy\nRoot-Is-Purelib: false\nTag: {tag}\n"
    ).encode()
    record = "".join(record_line(name, body) for name, body in content.items())
    content[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()

    path = directory / f"pjsua2-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in content.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, body)
    return path


def main() -> None:
    """Pack the files named on the command line, or print the tag."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--print-tag", action="store_true", help="print the compatibility tag and stop")
    parser.add_argument("--version", help="wheel version")
    parser.add_argument("--out", type=Path, help="directory of the wheel")
    parser.add_argument("files", nargs="*", type=Path)
    arguments = parser.parse_args()
    if arguments.print_tag:
        print(abi_tag())
        return
    files = {path.name: path.read_bytes() for path in arguments.files}
    print(pack(files, arguments.version, abi_tag(), arguments.out))


if __name__ == "__main__":
    main()
