"""Every page that there is."""

from __future__ import annotations

from agent.service.pages.routes import chat, data, entry, for_you, operator, taste

ROUTERS = (entry.router, chat.router, for_you.router, taste.router, data.router, operator.router)
