"""How Sphinx builds the site: `make site`. Nothing is loaded from the network, neither now nor by its readers."""

import os
import sys
from pathlib import Path

# One thread: the matrices of the gallery are small. Set before NumPy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "agg")

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS / "_extensions"), str(DOCS)]

import type_names  # noqa: E402

# Before anything of attndyn is imported, which evaluates annotations.
type_names.name_array_types()

import gallery_order  # noqa: E402
import inventories  # noqa: E402
import make_reference  # noqa: E402

import attndyn  # noqa: E402

project = "attndyn"
author = "The attndyn developers"
copyright = author
version = release = attndyn.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "sphinxcontrib.bibtex",
    "breaking_names",
    "claim_links",
    "code_links",
    "github_links",
    "glossary_links",
    "landing_figure",
    "prose_docstrings",
    "source_links",
    "stored_explorer",
    "type_names",
]
root_doc = "index"
exclude_patterns = [
    "_*",
    "gallery_src/**",
    "gallery/**/*.ipynb",
    "gallery/**/*.py",
    "**/README.txt",
    "**/.ipynb_checkpoints",
]

# Pages.
myst_enable_extensions = [
    "amsmath",
    "attrs_block",
    "attrs_inline",
    "colon_fence",
    "deflist",
    "dollarmath",
]
myst_heading_anchors = 4  # the anchors that GitHub makes
myst_dmath_double_inline = True  # $$ … $$ inside a line
nb_execution_mode = "off"  # notebooks are stored with their outputs, which tests repeat
nb_ipywidgets_js = {}  # widgets would be loaded from elsewhere
nb_merge_streams = True
mathjax_path = "vendor/mathjax/tex-svg.js"
bibtex_bibfiles = ["references.bib"]
bibtex_reference_style = "author_year"
bibtex_default_style = "plain"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# Reference.
default_role = "code"
add_module_names = False
python_use_unqualified_type_names = True
python_display_short_literal_types = True
python_maximum_signature_line_length = 80
toc_object_entries_show_parents = "hide"
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
autodoc_default_options = {"members": True, "exclude-members": "summary"}
viewcode_line_numbers = True
intersphinx_mapping = inventories.mapping(DOCS.parent / "build" / "inventories")
nitpick_ignore_regex = inventories.NAMES_WITHOUT_A_PAGE

# Gallery.
sphinx_gallery_conf = {
    "examples_dirs": ["gallery_src"],
    "gallery_dirs": ["gallery"],
    "filename_pattern": r"plot_\w+\.py$",
    "abort_on_example_error": True,
    "nested_sections": True,
    "subsection_order": gallery_order.FOLDERS,
    "within_subsection_order": "gallery_order.StoryOrder",
    "backreferences_dir": "reference/examples",
    "doc_module": ("attndyn",),
    "reference_url": {"attndyn": None},
    "capture_repr": ("_repr_html_", "__repr__"),
    "ignore_repr_types": r"matplotlib\.",  # what the last call on axes returns
    "image_srcset": ["2x"],
    "thumbnail_size": (480, 300),
    "remove_config_comments": True,
    "reset_modules": ("gallery_style.reset",),
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,  # the page would load scripts from elsewhere
    "min_reported_time": 1e9,
}
suppress_warnings = [
    "config.cache",  # functions in the configuration, which Sphinx cannot store
    # The folder of a clone may have a space in its name. No script has, and every link is checked.
    "sphinx_gallery.space_in_filename",
]

# HTML.
html_theme = "pydata_sphinx_theme"
html_title = "attndyn"
html_static_path = ["_static"]
templates_path = ["_templates"]
html_css_files = ["site.css"]
html_favicon = "_static/logo.svg"
html_copy_source = False
html_show_sourcelink = False
html_show_search_summary = (
    False  # summaries are fetched, which pages opened from disk may not
)
html_sidebars = {"index": [], "tutorials": ["sidebar-nav-bs"]}
html_theme_options = {
    "logo": {
        "text": "attndyn",
        "image_light": "_static/logo.svg",
        "image_dark": "_static/logo.svg",
    },
    "header_links_before_dropdown": 7,
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "show_toc_level": 2,
    "navigation_depth": 3,
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
    "back_to_top_button": False,
}

make_reference.write_pages(DOCS / "reference")
