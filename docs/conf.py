"""How Sphinx builds the site (`make site`): the notebooks as recorded, offline, with search."""

project = "LatentCRS"
author = "the authors of the LatentCRS course"
extensions = ["myst_nb", "sphinx-mathjax-offline"]
root_doc = "docs/index"
include_patterns = ["docs/**", "notebooks/[01]*.ipynb", "README.md", "results/README.md",
                    "data/README.md", "SECURITY.md", "CONTRIBUTING.md", "LICENSE"]  # fmt: skip
exclude_patterns = ["notebooks/course/**"]
nb_execution_mode = "off"
myst_enable_extensions = ["amsmath", "dollarmath", "colon_fence"]
myst_heading_anchors = 4
myst_dmath_double_inline = True
# links to code and records lead to files that the site does not have
suppress_warnings = [
    "myst.xref_missing",
    "myst.header",
    "toc.not_included",
    "mystnb.unknown_mime_type",
]
html_theme = "sphinx_book_theme"
html_title = "LatentCRS, the course"
html_static_path, html_extra_path = ["site"], ["site_root"]
html_css_files = ["course.css"]
html_show_sourcelink = False
html_theme_options = {
    "use_download_button": False,
    "use_fullscreen_button": False,
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "home_page_in_toc": True,
    "pygments_light_style": "default",
    "pygments_dark_style": "github-dark",
}
