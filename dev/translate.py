"""What CloudFormation makes of `template.yaml`: raw SAM hides roles, versions and mappings from whoever checks it."""

import copy
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

from dev.emulator import REGION
from dev.package import ROOT

TEMPLATE = ROOT / "template.yaml"

#: Where the code of functions and layers lies, by the property that says it; SAM takes no local folder.
CODE = {"AWS::Serverless::Function": "CodeUri", "AWS::Serverless::LayerVersion": "ContentUri"}


class NoManagedPolicies:
    """No role of the template names one of AWS's policies."""

    def load(self) -> dict[str, str]:
        return {}


def read(path: Path = TEMPLATE) -> dict[str, Any]:
    template: dict[str, Any] = yaml_parse(path.read_text())
    return template


def translated(template: dict[str, Any], parameters: Mapping[str, str] | None = None) -> dict[str, Any]:
    """After the Serverless transform, with `parameters` besides the defaults."""
    uploaded = copy.deepcopy(template)
    for resource in uploaded["Resources"].values():
        if (name := CODE.get(resource["Type"])) and "://" not in resource["Properties"][name]:
            resource["Properties"][name] = f"s3://code/{resource['Properties'][name]}"
    os.environ.setdefault("AWS_DEFAULT_REGION", REGION)  # some of what it makes differs between regions
    return transform(uploaded, dict(parameters or {}), NoManagedPolicies())  # type: ignore[no-any-return]


def main(folder: Path) -> None:
    """Writes both, as JSON, for tools that read nothing else: `raw.json` and `translated.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    template = read()
    (folder / "raw.json").write_text(json.dumps(template, indent=1))
    (folder / "translated.json").write_text(json.dumps(translated(template), indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
