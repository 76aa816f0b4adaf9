"""Pages of the site that live outside of `docs/`, such as README.md, its overview: there is one text and not two."""

import posixpath
import re

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File
from mkdocs.utils import get_relative_url

PAGES = {
    "README.md": "overview.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changes.md",
    "SECURITY.md": "security.md",
}


def on_files(files, config):
    """Adds the pages from the root, their links as seen from `docs/`.

    Args:
        files: of the site.
        config: of the build.
    """
    root = config.config_file_path.rpartition("/")[0]
    for source, page in PAGES.items():
        with open(f"{root}/{source}", encoding="utf-8") as file:
            text = re.sub(r"\]\(docs/", "](", file.read())
        for other, target in PAGES.items():
            text = text.replace(f"]({other})", f"]({target})")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown, page, config, files):
    """Leads links that leave `docs/` for one of these pages to where it is on the site; drops the marks of figures.

    Args:
        markdown: text of a page.
        page: whose text.
        config: of the build.
        files: of the site.
    """
    up = "../" * page.file.src_uri.count("/")
    for source, target in PAGES.items():
        markdown = re.sub(rf"\]\({re.escape(f'{up}../{source}')}(#[^)]*)?\)", rf"]({up}{target}\1)", markdown)
    # A mark may hold brackets, which would be read as a link.
    return re.sub(r"<!--=.*?-->", "", markdown)


def on_page_content(html, page, config, files):
    """Leads a notebook's links to pages to where they are on the site; mkdocs does that for pages in Markdown only.

    Args:
        html: of a page.
        page: whose HTML.
        config: of the build.
        files: of the site.

    Raises:
        PluginError: for a link to a page that does not exist.
    """
    if not page.file.src_uri.endswith(".ipynb"):
        return html

    def led(link):
        target = posixpath.normpath(posixpath.join(posixpath.dirname(page.file.src_uri), link[1]))
        file = files.get_file_from_path(target)
        if file is None:
            raise PluginError(f"{page.file.src_uri} links to {link[1]}, which is no page of the site.")
        return f'href="{get_relative_url(file.url, page.url)}{link[2] or ""}"'

    return re.sub(r'href="([^":#]+\.(?:md|ipynb))(#[^"]*)?"', led, html)
