"""The documentation as a site: ``sphinx-build -W docs docs/_build``, without a network.

Pages of `docs/` are found by their names; those that are made from the code, the configs and the results are written to
`docs/made/` first, by the scripts beside this file.
"""

from __future__ import annotations

import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS), str(DOCS.parent / "src")]

from making import site  # noqa: E402

import genlab  # noqa: E402

project = "genlab"
author = "the genlab contributors"
release = version = genlab.__version__
html_title = "genlab"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "making.mathml"]
exclude_patterns = ["_build", "images", "made/parts"]  # parts stand within other pages
root_doc = "index"
source_suffix = {".md": "markdown"}
highlight_language = "bash"  # most blocks are commands
suppress_warnings = ["ref.python"]  # a name in a signature that two classes have
default_role = "literal"  # single backticks in docstrings

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
html_math_renderer = "mathml"

html_theme = "furo"
html_theme_options = {"top_of_page_buttons": []}
html_static_path = ["static"]
html_css_files = ["wide.css"]
html_copy_source = False
html_use_index = False
html_domain_indices = False
html_show_sphinx = False
html_show_copyright = False

autodoc_inherit_docstrings = False  # those of Lightning say nothing of genlab, in roles of its own
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
napoleon_numpy_docstring = False
napoleon_use_ivar = True

site.write(DOCS / "made")


def setup(app: object) -> None:
    """Let links that leave `docs/`, which are right where the files lie, lead to what there is on the site."""
    app.connect("source-read", lambda _, page, source: source.__setitem__(0, site.linked(source[0], page)))
    app.connect("include-read", lambda _, path, page, source: source.__setitem__(0, site.linked(source[0], page)))
