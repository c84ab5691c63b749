# SPDX-License-Identifier: MIT
"""Debian's kernel source packages, fetched by a private APT: the system's lists, cache and packages stay as they are.

The mirror is taken from the machine's own APT sources; no host is named here.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from uffdlab.errors import UffdlabError

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
# What the selftests of mm include, and nothing of the other 80,000 files.
NEEDED = (
    "*/tools/testing/selftests/mm/*",
    "*/tools/testing/selftests/kselftest.h",
    "*/tools/include/*",
    "*/tools/arch/*/include/uapi/*",
    "*/mm/gup_test.h",
)


@dataclass(frozen=True)
class Offer:
    """One source package that can be had: its name, the kernel series in it, and its version."""

    package: str
    series: tuple[int, ...]
    version: str


class PrivateApt:
    """An APT with lists and cache of its own below ``home``, for the machine's Debian archives and one more suite."""

    def __init__(self, home: Path, suite: str | None) -> None:
        """Write the configuration and fetch the lists; ``suite`` None means the machine's own suites alone."""
        for directory in ("lists/partial", "cache/archives/partial"):
            (home / directory).mkdir(parents=True)
        (home / "sources.list").write_text("".join(f"{line}\n" for line in _sources(suite)))
        (home / "apt.conf").write_text(
            f'Dir::State::Lists "{home}/lists";\nDir::Cache "{home}/cache";\n'
            f'Dir::Etc::SourceList "{home}/sources.list";\nDir::Etc::SourceParts "/dev/null";\n'
            'APT::Sandbox::User "root";\n'
        )
        self.environment = os.environ | {"APT_CONFIG": str(home / "apt.conf")}
        self._run("apt-get", "update")

    def offers(self) -> list[Offer]:
        """Return the kernel source packages it knows, oldest series first."""
        names = re.findall(r"^linux-source-([0-9.]+) ", self._run("apt-cache", "search", "-n", "^linux-source-"), re.M)
        found = []
        for name in names:
            said = self._run("apt-cache", "policy", f"linux-source-{name}")
            version = re.search(r"Candidate: (\S+)", said)
            if version:
                series = tuple(int(part) for part in name.split("."))
                found.append(Offer(f"linux-source-{name}", series, version[1]))
        return sorted(found, key=lambda offer: offer.series)

    def fetch(self, offer: Offer, into: Path) -> Path:
        """Download the package, unpack what the selftests need below ``into`` and return the top of the tree."""
        into.mkdir(parents=True)
        self._run("apt-get", "download", f"{offer.package}={offer.version}", cwd=into)
        (package,) = into.glob("*.deb")
        _checked(["dpkg-deb", "-x", package, into])
        (tarball,) = (into / "usr" / "src").glob("linux-source-*.tar.*")
        _checked(["tar", "-C", into, "-xf", tarball, "--wildcards", *NEEDED])
        package.unlink()
        tarball.unlink()
        (top,) = into.glob("linux-source-*")
        return top

    def _run(self, *command: str, cwd: Path | None = None) -> str:
        return _checked(command, self.environment, cwd)


def _sources(suite: str | None) -> list[str]:
    """Return the lines of a sources.list: the machine's own Debian suites, and ``suite`` on the same mirror."""
    said = _checked(
        ["apt-get", "indextargets", "--format", "$(ORIGIN)|$(REPO_URI)|$(CODENAME)", "Created-By: Packages"]
    )
    targets = (line.split("|") for line in said.split())
    own = sorted({(where, name) for origin, where, name in targets if origin == "Debian"})
    if not own:
        raise UffdlabError("no Debian archive is known to this machine's APT: run 'apt-get update' first")
    wanted = list(own)
    if suite:
        main = [where for where, name in own if "-" not in name]
        wanted += [(where, suite) for where in main[:1]]
    option = f" [signed-by={KEYRING}]" if KEYRING.exists() else ""
    return [f"deb{option} {where} {name} main" for where, name in wanted]


def _checked(command: Sequence[str | Path], environment: dict[str, str] | None = None, cwd: Path | None = None) -> str:
    try:
        done = subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=600)
    except FileNotFoundError as error:
        raise UffdlabError(f"{command[0]} is not installed: kernel sources are fetched on Debian only") from error
    if done.returncode:
        last = done.stderr.strip().rsplit("\n", 1)[-1]
        raise UffdlabError(f"{command[0]} {command[1]} failed: {last or f'exit status {done.returncode}'}")
    return done.stdout
