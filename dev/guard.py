"""The rules of `tests/template/rules.guard`, on each template that is named (JSON). Run in the checks' own environment."""

import json
import re
import sys
from pathlib import Path
from typing import Any

RULES = (Path(__file__).parents[1] / "tests" / "template" / "rules.guard").read_text()


def main(*paths: str) -> int:
    try:
        import cfn_guard_rs  # type: ignore[import-not-found]  # noqa: F401
    except ImportError:
        print(
            "SKIPPED: tests/template/rules.guard. cfn-guard-rs is built for Python 3.11 and 3.12, and neither is here."
        )
        return 0
    broken = [(path, name) for path in paths for name in broken_rules(json.loads(Path(path).read_text()))]
    for path, name in broken:
        print(f"{path} breaks the rule {name} of tests/template/rules.guard")
    print(f"guard: {len(rules())} rules, {len(paths)} templates, {len(broken)} broken")
    return min(len(broken), 1)


def broken_rules(template: dict[str, Any]) -> list[str]:
    from cfn_guard_rs import run_checks

    broken = []
    for name, text in rules().items():
        try:
            status = run_checks(template, text).status
        except ValueError:  # it cannot read its own report of some failures
            status = "FAIL"
        if status == "FAIL":
            broken.append(name)
    return broken


def rules() -> dict[str, str]:
    """Each rule by its name, with the variables that all use."""
    variables, *texts = re.split(r"^(?=rule )", RULES, flags=re.MULTILINE)
    return {text.split()[1]: variables + text for text in texts}


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
