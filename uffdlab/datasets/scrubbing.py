# SPDX-License-Identifier: MIT
"""Before publishing a dataset: drop what is not allow-listed, report texts that may identify a person or
machine. Also seal a dataset again after an edit.
"""

from __future__ import annotations

import getpass
import ipaddress
import re
import socket
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from uffdlab.datasets import provenance
from uffdlab.datasets.csv import decode

from .cells import Value, show
from .dataset import Dataset
from .descriptor import FILE_NAME, check_seal, parse, read_raw, rewrite, sealed
from .files import printable
from .reading import load

# Of the keys the Data Package standard knows, those that do not name people or places.
_KEPT = {
    "$schema", "profile", "name", "title", "description", "version", "created", "keywords", "licenses",
    "sources", "resources", "uffdlab", "provenance", "merged_from",
}  # fmt: skip

# Names that thousands of machines share.
_GENERIC = {
    "root", "user", "users", "admin", "ubuntu", "debian", "fedora", "centos", "arch", "nobody", "guest",
    "host", "test", "runner", "builder", "docker", "vagrant", "localhost", "localdomain", "linux", "kernel",
    "virtual", "machine",
}  # fmt: skip

_PATH = re.compile(r"(?<![\w/:.~-])(?:/[\w.+@~-]+)+/?|(?<!\w)[A-Za-z]:\\\w+|(?<!\w)~\w*/\w+")
_KERNEL_PATHS = ("/dev/", "/proc/", "/sys/")  # the same on every machine
_TOKEN = re.compile(r"[0-9A-Za-z:.]+")


def seal(path: Path | str) -> Dataset:
    """Record the size and hash of every file again after an intended edit, and return the dataset.

    Rows and descriptor are validated first. Raises UffdlabError, changing nothing, if they break the
    contract.
    """
    path = Path(path)
    raw = read_raw(path)
    for number, resource in enumerate(parse(raw, path, sealing=True).resources):
        actual = decode(path / resource.path, resource.fields, None)[1]
        raw["resources"][number].update(bytes=actual.size, hash=actual.hash)
    rewrite(path, raw)
    return load(path)


def scrub(path: Path | str) -> list[str]:
    """Drop what is not allow-listed from the descriptor and return a sentence per thing dropped or
    suspicious.

    Suspicious texts (a host name, user name, home directory, path or network address in a cell, title or
    description) are reported, not changed. Raises UffdlabError, changing nothing, if the
    dataset is broken.
    """
    path = Path(path)
    raw = read_raw(path)
    check_seal(raw, path)
    clean, dropped = _clean(raw)
    descriptor = parse(sealed(clean), path)
    suspicious = [
        f"look at {printable(path / FILE_NAME)}, {where}: {show(text)} {why}"
        for where, text in _descriptor_texts(clean)
        if (why := _suspicion(text))
    ]
    for resource in descriptor.resources:
        values, _ = decode(path / resource.path, resource.fields, resource.recorded)
        for name, cells in values.items():
            suspicious += _suspicious_cells(printable(path / resource.path), name, cells)
    if dropped:
        rewrite(path, clean)
    return dropped + suspicious


def _clean(raw: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the descriptor with only allow-listed facts, and a sentence per dropped one."""
    clean = {key: value for key, value in raw.items() if key in _KEPT}
    dropped = [f"dropped the key {show(key)}" for key in raw if key not in _KEPT]
    clean["provenance"] = _allowed(raw.get("provenance"), "provenance", dropped)
    if isinstance(raw.get("merged_from"), list):
        clean["merged_from"] = [
            {
                **origin,
                "provenance": _allowed(origin.get("provenance"), f"merged_from[{i}].provenance", dropped),
            }
            if isinstance(origin, dict)
            else origin
            for i, origin in enumerate(raw["merged_from"])
        ]
    return clean, dropped


def _allowed(facts: Any, where: str, dropped: list[str]) -> Any:
    if not isinstance(facts, dict):
        return facts  # parse() refuses it
    kept = provenance.allowed(facts)
    dropped += [f"dropped {where}: {show(name)}" for name in facts if name not in kept]
    return kept


def _descriptor_texts(value: Any, where: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text of the descriptor with its key."""
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _descriptor_texts(inner, f"{where}.{key}" if where else key)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _descriptor_texts(inner, f"{where}[{number}]")


def _suspicious_cells(file: str, name: str, cells: list[Value]) -> Iterator[str]:
    """Yield a sentence for the first cell of each suspicious text in a column."""
    first = {text: line for line, text in reversed(list(enumerate(cells, 2))) if isinstance(text, str)}
    for text, line in sorted(first.items(), key=lambda item: item[1]):
        if why := _suspicion(text):
            yield f"look at {file}, line {line}, column {name!r}: {show(text)} {why}"


def _suspicion(text: str) -> str | None:
    """Return why a text may identify a person or machine; None if it does not."""
    lower = text.lower()
    for what, name in _own_names():
        if re.search(rf"(?<![a-z0-9]){re.escape(name)}(?![a-z0-9])", lower):
            return f"holds the {what} of this machine"
    if any(_is_address(token[0]) for token in _TOKEN.finditer(text)):
        return "looks like a network address"
    paths = [match[0] for match in _PATH.finditer(text)]
    if any(not (path + "/").startswith(_KERNEL_PATHS) for path in paths):
        return "looks like a path"
    return None


@cache
def _own_names() -> tuple[tuple[str, str], ...]:
    """Return the lower-case names of this machine and user, except generic ones."""
    host = socket.gethostname().lower()
    try:
        user = getpass.getuser().lower()
    except (KeyError, OSError):  # a user id without a name
        user = ""
    candidates = (("host name", host), ("host name", host.partition(".")[0]), ("user name", user))
    return tuple((what, name) for what, name in candidates if len(name) > 2 and name not in _GENERIC)


def _is_address(token: str) -> bool:
    token = token.strip(".")
    for candidate in (token, token.rpartition(":")[0]):  # with a port, perhaps
        if candidate.count(".") != 3 and candidate.count(":") < 2:
            continue
        try:
            address = ipaddress.ip_address(candidate)
        except ValueError:
            continue
        if not (address.is_loopback or address.is_unspecified):
            return True
    return False
