"""The legacy flat configuration: written by ``ptycho.config.update_legacy_dict``, read only by the model factories."""

from typing import Any

cfg: dict[str, Any] = {}
