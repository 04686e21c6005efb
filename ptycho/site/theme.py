"""The one theme of every site, a report's and that of the documentation: settings of Sphinx, and an extension of it.

The extension draws equations without a script, makes tables sortable, and gives each figure of a notebook a twin for a
dark page. Nothing is loaded from a network.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from PIL import Image
from sphinx.application import Sphinx

STATIC = Path(__file__).parent / "static"
SETTINGS: dict[str, Any] = {
    "extensions": ["myst_nb", "ptycho.site.theme"],
    "nb_execution_mode": "off",
    "myst_enable_extensions": ["dollarmath"],
    "myst_heading_anchors": 3,
    "html_theme": "furo",
    "html_math_renderer": "mathml",  # which a browser draws without a script
    "html_theme_options": {"top_of_page_buttons": []},  # those that lead to a page's source
}
BACKGROUND = 20
"""The grey of the theme's dark page, of 255."""
_FIGURE = re.compile(r'<img alt="([^"]*)"( data-panels="([^"]*)")? src="data:image/png;base64,([^"]+)">')


def on_dark(png: bytes, panels: list[tuple[float, ...]]) -> bytes:
    """The figure for a dark page: light and dark change places, and each colour keeps its hue.

    `panels` stay as they are, for their colours are a scale: left, top, right, bottom, in fractions of the figure.
    """
    with Image.open(io.BytesIO(png)) as image:
        seen = np.asarray(image.convert("RGB")).astype(np.int32)
    height, width = seen.shape[:2]
    # the lightness of HSL, (max + min) / 2, mirrored: every channel moves by as much
    turned = seen + (255 - seen.max(-1, keepdims=True) - seen.min(-1, keepdims=True))
    turned = BACKGROUND + turned * (255 - BACKGROUND) // 255
    for left, top, right, bottom in panels:
        rows = slice(round(top * height), round(bottom * height))
        columns = slice(round(left * width), round(right * width))
        turned[rows, columns] = seen[rows, columns]
    made = io.BytesIO()
    Image.fromarray(turned.astype(np.uint8)).save(made, "PNG")
    return made.getvalue()


def _outputs(app: Sphinx, doctree: nodes.document) -> None:
    """Put the figures that a notebook holds into files, each with its twin for a dark page; let sentences wrap."""
    page = app.env.docname
    for block in doctree.findall(nodes.literal_block):
        if "stream" in block["classes"] and not re.search(" {3}", block.astext()):  # that is no table
            block["classes"].append("sentences")
    for node in doctree.findall(nodes.raw):
        if node.get("format") == "html" and "base64," in node.astext():
            made = _FIGURE.sub(lambda found: _figure(Path(app.outdir), page.count("/"), found), node.astext())
            node.children = [nodes.Text(made)]


def _figure(site: Path, depth: int, found: re.Match[str]) -> str:
    alt, told, panels, data = found.groups()
    png = base64.b64decode(data)
    name = hashlib.sha256(png).hexdigest()[:16]
    images = {f"{name}.png": png}
    if told is not None:  # else nobody knows what of it is an image
        boxes = [tuple(float(end) for end in box.split()) for box in panels.split(",") if box]
        images[f"{name}-dark.png"] = on_dark(png, boxes)
    (site / "_images").mkdir(exist_ok=True)
    shown = []
    for kind, (file, content) in zip(("only-light", "only-dark"), images.items(), strict=False):
        (site / "_images" / file).write_bytes(content)
        place = f'class="figure {kind if len(images) > 1 else "on-white"}" loading="lazy"'
        shown.append(f'<img {place} alt="{alt}" src="{"../" * depth}_images/{file}">')
    return "".join(shown)


def _mathml(translator: Any, node: nodes.Element) -> None:
    translator.body.append(tex2mathml(node.astext(), as_block=isinstance(node, nodes.math_block)))
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx calls it: this module is an extension."""
    app.add_html_math_renderer("mathml", (_mathml, None), (_mathml, None))
    app.connect("builder-inited", lambda app: app.config.html_static_path.append(str(STATIC)))
    app.connect("doctree-read", _outputs)
    app.add_css_file("site.css")
    for script in ("site.js", "sortable.min.js"):  # in this order, when the page has been read
        app.add_js_file(script, loading_method="defer")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
