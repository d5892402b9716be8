"""Style sheets of the console under ASGI."""

from __future__ import annotations

from django.test import AsyncClient


async def test_a_style_sheet_is_answered_whole(async_client: AsyncClient) -> None:
    response = await async_client.get("/static/admin/css/base.css")
    assert response.status_code == 200
    assert not response.streaming
    assert response["content-type"].startswith("text/css")
    assert len(response.content) == int(response["content-length"])
    again = await async_client.get("/static/admin/css/base.css", headers={"if-none-match": response["etag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_what_does_not_exist_is_not_found(async_client: AsyncClient) -> None:
    assert (await async_client.get("/static/admin/css/none.css")).status_code == 404
    assert (await async_client.get("/static/../settings.py")).status_code == 404
