# SPDX-License-Identifier: MIT
"""A campaign on disk: write, validate, load, list, merge, scrub. This docstring is the directory's contract.

A dataset is one directory of plain files, readable without this package::

    reference-x/
        datapackage.json     what the tables mean and where they were measured (Data Package standard)
        samples.csv          one row per timed sample, long format
        states.csv …         other tables, one CSV each: states, latencies (log-binned counts), outcomes

``datapackage.json`` is an object (UTF-8, no key twice, no NaN) with

``name``         id of the dataset: lower-case letters, digits, ``.``, ``_``, ``-``; at most 100 characters
``title``        one line for people
``created``      UTC day it was written, ``YYYY-MM-DDT00:00:00Z``: a day, because a second says nothing more
``uffdlab``      ``{"format_version": 1, "kind": "measured" | "published" | "calibrated",
                 "seal": "sha256:…"}``; the seal is
                 the SHA-256 of this object without the seal (JSON, sorted keys, no spaces), so that an
                 edited kernel release or unit is detected like an edited sample
``provenance``   facts about the machine, each on the allow-list of ``uffdlab.datasets.provenance``; null or absent
                 is unknown
``sources``      where published figures were taken from: objects with ``title`` and, if known, ``path`` and
                 ``version``
``merged_from``  only after a merge: ``{"id", "provenance"}`` of each dataset that went in
``resources``    one object per table: ``name``, ``path`` (the bare file name ``<name>.csv``), ``format``
                 csv, ``mediatype`` text/csv (with a charset, if any, of UTF-8), ``encoding`` utf-8, ``bytes``,
                 ``hash`` (``sha256:…``) and ``schema``; the standard's other keys (``type``,
                 ``dialect``, ``profile`` …) are accepted if they state what this format requires anyway

``schema.fields[]`` follows Table Schema: ``name``, ``type`` (integer, number, boolean, string), ``unit``,
``title``, ``description`` and ``constraints`` (``required``, ``enum``, ``minimum``, ``maximum``). A schema may
have a ``primaryKey``, which is not checked, and ``missingValues`` of ``[""]``; a key that would change the meaning of a
cell is refused.

A CSV file is UTF-8 with ``\\n`` line ends, a header naming the fields in order, and one row per line: no cell
holds a line break or any other control character. An empty cell is a missing value, never zero and never an
empty text. Integers fit 64 bits signed; numbers are finite; booleans are ``true`` and ``false``. Times, sizes
and counts of known names (see :mod:`.column_kinds`) are 0 or more, whatever the schema says. A file is at
most 64 MiB, a line at most 1 MiB, a text at most 10 000 characters. Everything in the directory is a regular
file, never a symbolic link.

``datapackage.schema.json`` beside this file specifies ``datapackage.json`` as a JSON Schema (draft 7).
A dataset that breaks this contract is refused with one ``UffdlabError`` naming file, line, column and remedy.
"""

from __future__ import annotations

from .catalogue import Summary, calibrations, campaigns, companions, find, listing, load_beside, locate, with_table
from .cells import FieldDescriptor, Value, one_line
from .dataset import Dataset, kernel, same_machine
from .descriptor import FORMAT_VERSION
from .files import check_out
from .merging import differing, merge
from .reading import load, read
from .scrubbing import scrub, seal
from .writing import Table, write

__all__ = [
    "FORMAT_VERSION",
    "Dataset",
    "FieldDescriptor",
    "Summary",
    "Table",
    "Value",
    "calibrations",
    "campaigns",
    "check_out",
    "companions",
    "differing",
    "find",
    "kernel",
    "listing",
    "load",
    "load_beside",
    "locate",
    "merge",
    "one_line",
    "read",
    "same_machine",
    "scrub",
    "seal",
    "with_table",
    "write",
]
