"""/docs tells people what /openapi.json tells programs."""

from __future__ import annotations

import re

from forum.contract import OPERATIONS
from tests.pages.browser import Browser


def test_every_page_leads_to_the_contract_and_all_of_it_is_there(guest: Browser) -> None:
    page = guest.click(guest.get("/"), "API")
    assert page.status == 200
    for operation in OPERATIONS:
        assert f'id="{operation.id}"' in page.source
        for told in (operation.method, operation.path, operation.summary, *operation.refused().values()):
            assert told in page.text
    assert guest.http.get(page.link("openapi.json"), timeout=30).json()["openapi"].startswith("3.1")


def test_every_link_within_it_leads_somewhere(guest: Browser) -> None:
    source = guest.get("/docs").source
    names = re.findall(r' id="([^"]+)"', source)
    assert len(names) == len(set(names))
    assert set(re.findall(r'href="#([^"]+)"', source)) <= set(names)
