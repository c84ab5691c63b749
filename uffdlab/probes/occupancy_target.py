# SPDX-License-Identifier: MIT
"""A process that holds memory of known content until its standard input is closed; *occupancy* scans it.

Run by ``starting.python``: a request as one JSON line, an answer as one JSON line when the memory is ready,
or why it is not.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from uffdlab import starting
from uffdlab.errors import UffdlabError
from uffdlab.host import deaths
from uffdlab.probes.userfault import WRITE, KernelRefused, Range, die_with, mapped, opened
from uffdlab.vocabulary.backings import BACKINGS, MIB

CLUSTER_BYTES = 2 * MIB


@dataclass(frozen=True)
class Content:
    """The content to hold: ``pages`` of the backing's pages written, in whole clusters of 2 MiB or one by one.

    ``read``: everything is read first, so that the rest maps the zeropage. ``marked``: everything is protected last, so
    that the rest holds markers.
    """

    backing: str
    size_bytes: int
    pages: int
    seed: int = 0
    clustered: bool = False
    read: bool = False
    marked: bool = False


class HolderRefused(KernelRefused):
    """The kernel refused an operation of the holder; the message is the holder's."""

    def __init__(self, sentence: str) -> None:
        """Take the holder's message."""
        Exception.__init__(self, sentence)
        self.operation, self.errno = "hold memory", 0


@contextmanager
def held(content: Content) -> Iterator[int]:
    """Start a process that holds the content; yield its process ID; end it.

    Raises KernelRefused if the kernel refused it an operation, UffdlabError if it ended.
    """
    request = json.dumps(vars(content) | {"parent": os.getpid()})
    with _start(starting.python("uffdlab.probes.occupancy_target")) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.write(request + "\n")
            child.stdin.flush()
            answer = child.stdout.readline()
            if not answer:
                raise UffdlabError(f"the process holding the memory {_ended(child.wait())}")
            refusal = json.loads(answer)["refused"]
            if refusal:
                raise HolderRefused(refusal)
            yield child.pid
        finally:
            child.kill()


def _start(command: list[str]) -> subprocess.Popen[str]:
    try:
        return subprocess.Popen(
            command, env=starting.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
    except OSError as error:
        raise KernelRefused("start a process", error.errno or 0) from error


def _ended(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    return f"was killed by signal {deaths.name(-status)}{deaths.clause(-status)}"


def main() -> None:
    """Hold the requested content."""
    request = json.loads(sys.stdin.readline())
    with ExitStack() as stack:
        try:
            if not die_with(request.pop("parent")):
                return  # the parent has ended
            _hold(Content(**request), stack)
        except KernelRefused as refusal:
            _answer(str(refusal))
            return
        _answer(None)
        sys.stdin.read()


def _answer(refused: str | None) -> None:
    print(json.dumps({"refused": refused}), flush=True)


def _hold(content: Content, stack: ExitStack) -> None:
    memory = stack.enter_context(mapped(BACKINGS[content.backing], content.size_bytes))
    if content.read:
        memory.populate_read()
    _write(content, memory)
    if content.marked:
        uffd = stack.enter_context(opened(("WP_UNPOPULATED",)))
        uffd.register(memory, missing=False)
        uffd.protect(memory)


def _write(content: Content, memory: Range) -> None:
    if not content.clustered:
        memory.write_some(content.pages, content.seed)
        return
    page = memory.backing.page_bytes
    in_cluster = range(0, CLUSTER_BYTES, page)
    chosen = random.Random(content.seed).sample(
        range(0, content.size_bytes, CLUSTER_BYTES), content.pages // len(in_cluster)
    )
    memory.touch_at([cluster + offset for cluster in chosen for offset in in_cluster], WRITE)


if __name__ == "__main__":
    main()
