"""How Sphinx builds the site: `make docs`. What is made from the code is in site_parts.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from mien import __version__

project = "mien"
author = "The mien authors"
copyright = "the mien authors, Apache-2.0"
version = release = __version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "site_parts"]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}
exclude_patterns = ["images"]
suppress_warnings = ["misc.highlighting_failure"]  # of blocks in languages that Pygments does not know

nb_execution_mode = "force"  # notebooks are kept without what they print
nb_execution_raise_on_error = True
nb_execution_timeout = 300
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
default_role = "code"  # docstrings write code in single backticks
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autoclass_content = "class"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_use_unqualified_type_names = True
nitpick_ignore_regex = [(r"py:.*", r"(?!mien\.).*")]  # offline: names of other packages lead nowhere

html_theme = "furo"
html_title = f"mien {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_theme_options = {"top_of_page_buttons": []}
