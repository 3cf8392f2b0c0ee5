"""Local web page that segments and measures scans in a browser on the same machine (extra ``app``)."""

from __future__ import annotations

from bcdseg.extras import require

require("starlette", extra="app", purpose="The page")
