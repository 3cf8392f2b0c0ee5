"""HTTP server of a model, which stores no uploads (extra ``serve``)."""

from __future__ import annotations

from bcdseg.extras import require

for _module in ("fastapi", "uvicorn", "python_multipart"):
    require(_module, extra="serve", purpose="bcdseg serve")
