"""`docs/threat-model.md` names tests that exist, for every threat it says is answered."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "threat-model.md").read_text()


def test_each_threat_names_a_test_and_each_test_exists() -> None:
    there = {
        name
        for kind in ("unit", "net")
        for path in (ROOT / "tests" / kind).glob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)\(", path.read_text(), re.M)
    }
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \| [^|]+ \| ([^|]+) \|$", PAGE, re.M)
    answered = [(threat, re.findall(r"`(test_\w+)`", tests)) for threat, tests in rows if threat != "threat"]
    assert len(answered) > 20
    for threat, tests in answered:
        assert tests, threat
        assert not set(tests) - there, threat
    assert not set(re.findall(r"`(test_\w+)`", PAGE)) - there


def test_what_to_do_with_a_vulnerability_leads_there_and_the_readme_to_both() -> None:
    assert "docs/threat-model.md" in (ROOT / "SECURITY.md").read_text()
    readme = (ROOT / "README.md").read_text()
    assert "(SECURITY.md)" in readme
    assert "(docs/threat-model.md)" in readme
