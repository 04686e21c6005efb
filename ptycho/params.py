"""The legacy flat configuration: written by ``ptycho.config.update_legacy_dict``, read only by the model factories."""

from __future__ import annotations

from typing import Any

cfg: dict[str, Any] = {}
