"""What must differ between the processes that Lambda restores from one snapshot (SnapStart)."""

import random

try:
    from snapshot_restore_py import register_after_restore  # Lambda's own Python carries it
except ImportError:
    register_after_restore = None


def reseed_when_restored() -> None:
    """Pauses and picks are to differ, botocore's too. (Ids and secrets come from the system, and differ by themselves.)"""
    if register_after_restore is not None:
        register_after_restore(random.seed)
