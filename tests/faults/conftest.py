"""Shows what was simulated, and which invariant found which mistake."""

from __future__ import annotations

from typing import Any

TITLES = {"run": "Simulated", "mutant": "Mistakes, and the invariants that found them"}


def pytest_terminal_summary(terminalreporter: Any) -> None:
    told = [kept for report in terminalreporter.getreports("passed") for kept in report.user_properties]
    for name, title in TITLES.items():
        lines = sorted(text for kind, text in told if kind == name)
        if lines:
            terminalreporter.section(title)
            for line in lines:
                terminalreporter.write_line(line)
