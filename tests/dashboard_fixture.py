"""The dashboard of a gateway in a browser: the address that signs in, and what a page then shows."""

from __future__ import annotations

from playwright.async_api import Page, expect

from tests.gateway_fixture import Gateway, token_for

REFUSED = "Failed to load resource"  # what the browser logs for every answer that is an error


def service() -> str:
    return token_for(sub="admin", role="service_role")


def address(gateway: Gateway, token: str, project: str = "demo") -> str:
    return f"{gateway.url}/dashboard#project={project}&token={token}"


async def is_in(page: Page) -> None:
    await expect(page.get_by_role("navigation")).to_be_visible(timeout=30_000)


async def alerted(page: Page, text: str) -> None:
    await expect(page.get_by_role("alert")).to_contain_text(text, timeout=30_000)
