# SPDX-License-Identifier: MIT
"""Probe *sequence* on this kernel, against the documented semantics."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from uffdlab.errors import UffdlabError
from uffdlab.host import settings as host_settings
from uffdlab.probes import sequence
from uffdlab.probes.sequence import FIELDS, SequenceSpec, parse
from uffdlab.probes.userfault import KernelRefused
from uffdlab.sequences import documented
from uffdlab.sequences.answer import Answer, answer
from uffdlab.sequences.documented import expected
from uffdlab.vocabulary.backings import SEQUENCE_BACKINGS
from uffdlab.vocabulary.feature_sets import SEQUENCE_SETS
from uffdlab.vocabulary.steps import ENTRY_WORDS, STEPS

# Steps that need settings of the host, and collapse, whose result depends on pages that are not modelled.
NEED_SETTINGS = {"swapout", "collapse", "khugepaged", "ksm_merge"}
ORDINARY = ("anon", "anon_thp", "shmem", "memfd", "file_private")


def asked(backing: str, features: str, steps: str) -> Answer:
    rows = [row for _, row in sequence.run(SequenceSpec(backing, features, steps))]
    return answer(backing, features, rows, "here")


def differing(found: Answer) -> list[tuple[str, str, Any]]:
    return [(step.step, step.words(), step.documented) for step in found.steps if not step.agrees]


# --- the words of a sequence -----------------------------------------------------------------------------------------


def test_steps_are_separated_by_semicolons_or_commas_in_any_case() -> None:
    assert parse(" Protect;discard ,write; ") == ("protect", "discard", "write")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("protect; fly; write", "no step is called 'fly': choose from write read protect"),
        ("", "a sequence has 1 to 6 steps, and this one 0: write it as 'protect; discard; write'"),
        ("read;" * 7, "a sequence has at most 6 steps, and this one 7"),
    ],
)
def test_impossible_texts_are_refused_with_the_list_or_the_form(text: str, sentence: str) -> None:
    with pytest.raises(UffdlabError) as caught:
        SequenceSpec(steps=text)
    assert sentence in str(caught.value)


def test_too_many_steps_are_counted_and_not_told_a_form_that_they_have() -> None:
    with pytest.raises(UffdlabError) as caught:
        parse("; ".join(["write"] * 7))
    assert str(caught.value) == "a sequence has at most 6 steps, and this one 7"


@pytest.mark.parametrize(
    ("backing", "step", "reason"),
    [
        ("hugetlb_2m_private", "reclaim", "huge pages of a pool are never reclaimed"),
        ("anon", "collapse", "choose anon_thp"),
        ("shmem", "free", "only private anonymous memory"),
        ("shmem", "move", "only private anonymous memory"),
        ("file_private", "lock", "Linux 6.18 fills it without end"),
    ],
)
def test_a_step_that_memory_cannot_take_is_refused_with_the_reason(backing: str, step: str, reason: str) -> None:
    with pytest.raises(UffdlabError) as caught:
        SequenceSpec(backing, "none", f"protect; {step}; write")
    assert f"{step} ({STEPS[step].call}) is not possible on" in str(caught.value)
    assert reason in str(caught.value)


@given(
    st.sampled_from(sorted(SEQUENCE_BACKINGS)), st.sampled_from(sorted(SEQUENCE_SETS)), st.sampled_from(sorted(STEPS))
)
def test_every_possible_step_makes_a_spec_with_needs(backing: str, features: str, step: str) -> None:
    assume(STEPS[step].why_not(SEQUENCE_BACKINGS[backing]) is None)
    needs = SequenceSpec(backing, features, f"write; {step}").needs()
    assert needs.memory_kib > 0 or needs.hugepages


# --- on this kernel --------------------------------------------------------------------------------------------------


@pytest.mark.uffd
def test_a_row_per_step_with_the_declared_columns() -> None:
    rows = [row for _, row in sequence.run(SequenceSpec("anon", "wp_unpopulated", "protect; read; write"))]
    assert [(row["number"], row["step"]) for row in rows] == [(1, "protect"), (2, "read"), (3, "write")]
    assert all({"block", *row} == {field["name"] for field in FIELDS} for row in rows)
    assert all(row["entry"] in ENTRY_WORDS for row in rows)


# The answers that people who use the interface have got wrong, each of which is a documented one.
SURPRISES = [
    ("anon", "none", "protect; write", "the write is not reported."),
    ("anon", "wp_unpopulated", "protect; write", "the write is reported."),
    ("anon", "wp_unpopulated", "protect; discard; write", "the write is not reported."),
    ("shmem", "none", "write; protect; discard; write", "the write is reported."),
    ("anon", "none", "write; protect; free; reclaim; write", "the write is not reported."),
    ("anon", "none", "write; protect; remap; write",
     "the write is not reported: the new place is not registered any more."),
    ("anon", "none", "write; protect; remap",
     "after remap the entry holds a page, not protected, and its new place is not registered any more."),
    ("anon", "wp_unpopulated", "protect; pin", f"pin is refused with EFAULT: {documented.NOT_OF_THE_USER}."),
    ("anon", "none", "write; protect; ksm_unmerge; write", "the write is reported."),
    ("anon", "wp_events", "write; protect; remap; write", "the write is reported."),
    ("anon", "missing_wp", "protect; write", "the write raises a missing event, and no write-protect event."),
    ("anon", "wp_async", "protect; write",
     "the write raises no event, as asked for; PAGEMAP_SCAN shows the page as written."),
    ("anon", "none", "write; protect; guard; write", "the write raises SIGSEGV, and no event."),
    ("anon", "none", "poison; write", "the write raises SIGBUS, and no event."),
    ("memfd", "none", "write; protect; discard; write", "the write is reported."),
    ("memfd", "missing_wp_async", "protect; write", "the write raises a missing event, and no write-protect event."),
    ("anon", "missing_wp_async", "protect; read; write",
     "the write raises no event, as asked for; PAGEMAP_SCAN shows the page as written."),
    ("file_private", "none", "write; protect; write",
     "this memory cannot be registered so (EINVAL), and nothing was protected."),
    ("file_private", "wp_async", "write; protect; discard; write",
     "the write raises no event, as asked for; PAGEMAP_SCAN shows the page as written."),
]  # fmt: skip


@pytest.mark.uffd
@pytest.mark.parametrize(("backing", "features", "steps", "sentence"), SURPRISES)
def test_answers_to_what_users_ask(backing: str, features: str, steps: str, sentence: str) -> None:
    found = asked(backing, features, steps)
    assert (found.sentence, differing(found)) == (sentence, [])


@pytest.mark.uffd
def test_a_guard_on_protected_memory_of_a_file_does_not_return_while_it_is_registered() -> None:
    """Accept both: a kernel that tries without end, as Linux 6.18, and one that is mended and takes the step."""
    found = asked("shmem", "none", "protect; guard; write")
    results = [step.result for step in found.steps]
    if results[1] == "hung":
        assert (len(results), found.sentence) == (2, "guard does not return while the range is registered.")
    else:
        assert results == ["done", "done", "SIGSEGV"], "a mended kernel puts the guard there, and it works"


@pytest.mark.uffd
@pytest.mark.parametrize(("backing", "step"), [("anon", "pin"), ("anon", "lock"), ("shmem", "pin")])
def test_accesses_of_the_kernel_are_reported_through_a_descriptor_that_delivers_them(backing: str, step: str) -> None:
    try:
        found = asked(backing, "kernel_wp", f"write; protect; {step}")
    except KernelRefused as refusal:
        if refusal.errno != errno.EPERM:
            raise
        pytest.skip(f"not permitted here: {refusal}")
    assert (found.steps[-1].result, found.steps[-1].wp_events > 0, differing(found)) == ("done", True, [])


def skipped_unless(spec: SequenceSpec) -> dict[str, str]:
    """Return the settings that a sequence needs, or skip the test with the reason why they cannot be had."""
    needs = spec.needs()
    wanted = dict(needs.settings) | {f"hugetlb_{size}": str(count) for size, count in needs.hugepages.items()}
    reasons = [f"{name}: {why}" for name in wanted if (why := host_settings.why_unchangeable(name))]
    reason = needs.taken() or "; ".join(reasons)
    if reason:
        pytest.skip(f"the settings of {spec.steps!r} on {spec.backing} cannot be had here: {reason}")
    return wanted


@contextmanager
def allowed(spec: SequenceSpec, **more: str) -> Iterator[None]:
    wanted = skipped_unless(spec) | more
    try:
        with host_settings.changed(wanted, allow=True):
            yield
    except UffdlabError as error:
        if "has host settings changed right now" not in str(error) and "too little memory" not in str(error):
            raise
        pytest.skip(str(error))


@pytest.mark.uffd
def test_merging_by_ksm_loses_the_protection_without_an_event() -> None:
    with allowed(SequenceSpec("anon", "none", "ksm_merge")):
        found = asked("anon", "none", "write; protect; ksm_merge; write")
        apart = asked("anon", "none", "write; ksm_merge; protect; ksm_unmerge; write")
    assert (differing(found), differing(apart)) == ([], [])
    assert found.sentence == "the write is not reported."
    assert apart.sentence == "the write is reported."


@pytest.mark.uffd
@pytest.mark.parametrize(("backing", "entry"), [("anon", "swapped"), ("memfd", "marker")])
def test_a_page_that_was_written_and_swapped_out_is_written_and_not_present(backing: str, entry: str) -> None:
    with allowed(SequenceSpec(backing, "wp_async", "swapout")):
        written = asked(backing, "wp_async", "protect; write; swapout")
        protected = asked(backing, "wp_async", "write; protect; swapout; write")
    assert (differing(written), differing(protected)) == ([], [])
    assert set((written.steps[-1].categories or "").split("+")) >= {"WRITTEN"}
    assert "PRESENT" not in (written.steps[-1].categories or "")
    assert "scan: " in written.steps[-1].words()
    swapped = protected.steps[2]
    assert (swapped.entry, "WRITTEN" in (swapped.categories or "")) == (entry, False)
    assert protected.sentence.endswith("PAGEMAP_SCAN shows the page as written.")


@pytest.mark.uffd
def test_khugepaged_comes_by_where_no_page_is_there() -> None:
    with allowed(SequenceSpec("anon_thp", "none", "khugepaged")):
        found = asked("anon_thp", "wp_unpopulated", "protect; khugepaged; write")
    assert (found.sentence, differing(found)) == ("the write is reported.", [])


@pytest.mark.uffd
@pytest.mark.parametrize("how", ["collapse", "khugepaged"])
def test_small_pages_are_made_a_huge_one_where_all_are_there_and_none_is_protected(how: str) -> None:
    with allowed(SequenceSpec("anon_thp", "none", f"write; {how}")):
        protected = asked("anon_thp", "wp_unpopulated", f"write; protect; write; {how}")
        control = asked("anon_thp", "wp_unpopulated", f"write; protect; write; unprotect; {how}; write")
    assert (differing(protected), differing(control)) == ([], [])
    assert [step.entry for step in control.steps[2:5]] == ["page", "page", "huge page"]
    assert protected.steps[-1].entry == "page"
    assert protected.steps[-1].result == ("refused" if how == "collapse" else "done")


@pytest.mark.uffd
@pytest.mark.parametrize("backing", ["anon_mthp", "hugetlb_2m_private", "hugetlb_1g_shared"])
def test_memory_that_needs_settings_of_the_host_is_reached(backing: str) -> None:
    with allowed(SequenceSpec(backing, "none", "write")):
        found = asked(backing, "wp_unpopulated", "protect; discard; protect; write")
    assert (found.sentence, differing(found)) == ("the write is reported.", [])


@pytest.mark.uffd
def test_a_child_keeps_protection_only_where_the_handler_is_told_of_the_fork() -> None:
    without, told = (asked("anon", features, "write; protect; fork; write") for features in ("none", "wp_events"))
    assert (without.steps[2].child_uffd_wp, told.steps[2].child_uffd_wp) == (False, True)
    assert (without.steps[2].other_events, told.steps[2].other_events) == (0, 1)
    assert without.sentence == told.sentence == "the write is reported."


@pytest.mark.uffd
@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(ORDINARY),
    st.sampled_from(sorted(SEQUENCE_SETS)),
    st.lists(st.sampled_from(sorted(STEPS.keys() - NEED_SETTINGS)), min_size=1, max_size=6),
)
def test_this_kernel_does_what_is_documented(backing: str, features: str, steps: list[str]) -> None:
    assume(all(STEPS[step].why_not(SEQUENCE_BACKINGS[backing]) is None for step in steps))
    assume(all(step.result != "hung" for step in expected(backing, features, steps)))  # it takes five seconds
    assert differing(asked(backing, features, "; ".join(steps))) == []


@pytest.mark.uffd
def test_this_kernel_does_what_is_documented_where_ksm_merges_or_huge_pages_are_of_64_kib() -> None:
    @settings(max_examples=40, deadline=None)
    @given(
        st.sampled_from(("anon", "anon_thp", "anon_mthp", "file_private")),
        st.sampled_from(sorted(SEQUENCE_SETS)),
        st.lists(st.sampled_from(sorted(STEPS.keys() - NEED_SETTINGS)), max_size=3),
        st.lists(st.sampled_from(sorted(STEPS.keys() - NEED_SETTINGS | {"ksm_merge"})), max_size=2),
    )
    def holds(backing: str, features: str, before: list[str], after: list[str]) -> None:
        steps = [*before, "ksm_merge", *after]
        assume(all(STEPS[step].why_not(SEQUENCE_BACKINGS[backing]) is None for step in steps))
        assume(all(step.result != "hung" for step in expected(backing, features, steps)))
        with host_settings.changed(SequenceSpec(backing, "none", "write").needs().settings, allow=True):
            assert differing(asked(backing, features, "; ".join(steps))) == []

    with allowed(SequenceSpec("anon", "none", "ksm_merge")):
        holds()


@pytest.mark.uffd
def test_this_kernel_does_what_is_documented_where_pages_are_swapped_out() -> None:
    @settings(max_examples=60, deadline=None)
    @given(
        st.sampled_from(ORDINARY),
        st.sampled_from(sorted(SEQUENCE_SETS)),
        st.lists(st.sampled_from(sorted(STEPS.keys() - NEED_SETTINGS)), max_size=3),
        st.lists(st.sampled_from(sorted(STEPS.keys() - NEED_SETTINGS - {"reclaim"})), max_size=2),
    )
    def holds(backing: str, features: str, before: list[str], after: list[str]) -> None:
        steps = [*(step for step in before if step != "reclaim"), "swapout", *after]  # reclaim is without swap
        assume(all(STEPS[step].why_not(SEQUENCE_BACKINGS[backing]) is None for step in steps))
        assume(all(step.result != "hung" for step in expected(backing, features, steps)))
        assert differing(asked(backing, features, "; ".join(steps))) == []

    with allowed(SequenceSpec("anon", "none", "swapout")):
        holds()


@pytest.mark.uffd
@pytest.mark.parametrize("backing", ["hugetlb_2m_private", "hugetlb_2m_shared"])
def test_this_kernel_does_what_is_documented_with_huge_pages_of_a_pool(backing: str) -> None:
    @settings(max_examples=60, deadline=None)
    @given(
        st.sampled_from(sorted(SEQUENCE_SETS)),
        st.lists(st.sampled_from(sorted(STEPS.keys() - NEED_SETTINGS)), min_size=1, max_size=6),
    )
    def holds(features: str, steps: list[str]) -> None:
        assume(all(STEPS[step].why_not(SEQUENCE_BACKINGS[backing]) is None for step in steps))
        assume(all(step.result != "hung" for step in expected(backing, features, steps)))
        assert differing(asked(backing, features, "; ".join(steps))) == []

    # A page of the pool comes back a little after the process that pinned it: more than one sequence needs.
    with allowed(SequenceSpec(backing, "none", "write"), hugetlb_2048="64"):
        holds()


@pytest.mark.uffd
@pytest.mark.parametrize(("backing", "features"), [("anon", "wp_unpopulated"), ("shmem", "none")])
def test_a_touch_says_whether_it_faulted(backing: str, features: str) -> None:
    """A marker is read with a fault that raises no event; what is mapped is read without one, also when protected."""
    found = asked(backing, features, "protect; read; read; write; write")
    assert [step.faults and min(step.faults, 1) for step in found.steps] == [None, 1, 0, 1, 0]
    said = [step.words().split(" · ")[0] for step in found.steps[1:]]
    assert said == ["a fault without an event", "no fault", "a write-protect event", "no fault"]
