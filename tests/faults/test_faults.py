"""Short forms of the programs beside this file; run those for the full numbers."""

import broken_documents
import damage
import full_disk
import kill
import pytest
import together


def test_what_was_acknowledged_before_a_kill_is_there() -> None:
    killing = kill.run(10, seed=5)
    assert not killing.faults
    assert len(killing.reopening) == 10


def test_damage_is_harmless_or_told() -> None:
    verdicts = damage.run(1, groups=12, parts=1, seed=5)
    assert len(verdicts) > 5
    wrong = {
        (name, verdict)
        for name, counts in verdicts.items()
        for verdict in counts
        if not verdict.startswith(("detected", "harmless", "found by verify"))
    }
    assert not wrong


def test_writers_and_readers_of_several_processes() -> None:
    faults, sums = together.run(4, writers=2, readers=3)
    assert not faults
    assert sums["written"] > 0
    assert sums["states"] > 0


@pytest.mark.skipif(not full_disk.can_mount(), reason="file systems cannot be mounted here")
def test_a_full_disk_loses_nothing() -> None:
    result = full_disk.run_apart(3, seed=5)
    assert not result["faults"]
    assert "StorageFullError" in result["outcomes"]


def test_broken_documents_end_nothing_but_themselves() -> None:
    outcomes = broken_documents.run([], 6, seed=5)
    assert set(outcomes) >= set(broken_documents.WRITERS) - {".pdf"}
    assert not [fault for outcome in outcomes.values() for fault in outcome.faults]
    assert all(outcome.kinds.total() == 6 for outcome in outcomes.values())
