"""The dependencies of bcdseg that are installed here: known vulnerabilities, bill of materials, licences.

python scripts/supply_chain.py audit
python scripts/supply_chain.py sbom dist/bcdseg.cdx.json
python scripts/supply_chain.py licences
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = "bcdseg"
LICENCE_CLASSIFIER = "License :: OSI Approved :: "
LONGEST_LICENCE = 60
NAMESPACE = UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")  # of URLs, as RFC 4122 defines it


def installed(root: str = ROOT) -> dict[str, tuple[Distribution, list[str]]]:
    """Return the dependencies of a distribution that are installed, with the names of their own dependencies.

    Dependencies of all extras are followed, except those of tests and documentation (``dev``, ``docs``).
    """
    found: dict[str, tuple[Distribution, list[str]]] = {}
    waiting = [(root, frozenset(importlib.metadata.metadata(root).get_all("Provides-Extra") or ()) - {"dev", "docs"})]
    while waiting:
        name, extras = waiting.pop()
        try:
            one = distribution(name)
        except PackageNotFoundError:  # of an extra that is not installed
            continue
        known = found.get(canonicalize_name(name))
        needed = dict(_required(one, extras))
        if known is not None and set(needed) <= set(known[1]):
            continue
        found[canonicalize_name(name)] = (one, sorted({*needed, *(known[1] if known else ())}))
        waiting += needed.items()
    return {name: (one, [other for other in needed if other in found]) for name, (one, needed) in sorted(found.items())}


def _required(one: Distribution, extras: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    for text in one.requires or ():
        requirement = Requirement(text)
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield canonicalize_name(requirement.name), frozenset(requirement.extras)


def licence(one: Distribution) -> str:
    """Return the licence that a distribution declares: its SPDX expression, its classifiers, or the first line of its text."""
    declared = one.metadata
    if expression := declared.get("License-Expression"):
        return str(expression)
    classifiers = [text for text in declared.get_all("Classifier") or () if text.startswith("License :: ")]
    if named := [text.removeprefix(LICENCE_CLASSIFIER) for text in classifiers if text != LICENCE_CLASSIFIER.removesuffix(" :: ")]:
        return " AND ".join(named)
    first = str(declared.get("License") or "").strip().partition("\n")[0]
    return first[:LONGEST_LICENCE] if first not in ("", "UNKNOWN") else "not declared"


def bill_of_materials() -> dict[str, Any]:
    """Return the installed dependencies as a CycloneDX document, which is the same for the same versions."""
    found = installed()
    components = {name: _component(name, one) for name, (one, _) in found.items()}
    root = components.pop(ROOT)
    versions = " ".join(sorted(component["purl"] for component in components.values()))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid5(NAMESPACE, root['purl'] + versions)}",
        "version": 1,
        "metadata": {"component": {**root, "type": "library"}},
        "components": list(components.values()),
        "dependencies": [
            {"ref": _purl(name, one), "dependsOn": [_purl(other, found[other][0]) for other in needed if other != name]}
            for name, (one, needed) in found.items()
        ],
    }


def _component(name: str, one: Distribution) -> dict[str, Any]:
    purl = _purl(name, one)
    expression = one.metadata.get("License-Expression")
    licences = [{"expression": str(expression)}] if expression else [{"license": {"name": licence(one)}}]
    return {"type": "library", "bom-ref": purl, "name": name, "version": one.version, "purl": purl, "licenses": licences}


def _purl(name: str, one: Distribution) -> str:
    return f"pkg:pypi/{name}@{one.version.replace('+', '%2B')}"


def audit() -> int:
    """Look up known vulnerabilities of the installed dependencies with pip-audit, and return the exit status.

    The status is 0 when none is known, 1 when some are, and 2 when they could not be looked up.
    """
    if importlib.util.find_spec("pip_audit") is None:
        print("pip-audit is not installed. Install it: pip install pip-audit", file=sys.stderr)
        return 2
    found = _pip_audit({name: one.version.partition("+")[0] for name, (one, _) in installed().items() if name != ROOT})
    audited = [one for one in found if "skip_reason" not in one]
    if not audited:
        print(
            "The service that lists vulnerabilities can't be reached. Connect to the internet and run this again.", file=sys.stderr
        )
        return 2
    for one in found:
        for known in one.get("vulns", ()):
            print(f"{one['name']} {one['version']}: {known['id']}, fixed in {', '.join(known['fix_versions']) or 'no release'}")
        if "skip_reason" in one:
            print(f"{one['name']}: not looked up ({one['skip_reason']})")
    vulnerable = sum(bool(one["vulns"]) for one in audited)
    print(f"{len(audited)} of {len(found)} dependencies looked up; {vulnerable} have known vulnerabilities.")
    return int(vulnerable > 0)


def _pip_audit(pins: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the result of pip-audit for each dependency, and none where it fails."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "requirements.txt"
        file.write_text("".join(f"{name}=={version}\n" for name, version in pins.items()))
        command = [sys.executable, "-m", "pip_audit", "--requirement", str(file), "--no-deps", "--disable-pip", "--format", "json"]
        done = subprocess.run([*command, "--progress-spinner", "off"], capture_output=True, text=True, check=False)
    try:
        result: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except ValueError:
        print(done.stderr[-2000:], file=sys.stderr)
        return []
    return result


def main() -> int:
    """Run a command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("audit", help="look up known vulnerabilities with pip-audit")
    commands.add_parser("sbom", help="write a bill of materials (CycloneDX)").add_argument("file", type=Path)
    commands.add_parser("licences", help="print the licence of each dependency")
    options = parser.parse_args()
    if options.command == "audit":
        return audit()
    if options.command == "sbom":
        options.file.parent.mkdir(parents=True, exist_ok=True)
        options.file.write_text(json.dumps(bill_of_materials(), indent=2) + "\n")
        return 0
    for name, (one, _) in installed().items():
        print(f"{name:40} {one.version:20} {licence(one)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
