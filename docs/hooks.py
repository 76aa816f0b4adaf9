"""Pages of the site that live outside of `docs/`: README.md is its home page, so that there is one text and not two."""

import re

from mkdocs.structure.files import File

PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changes.md"}


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
    """Leads links that leave `docs/` for one of these pages to where it is on the site.

    Args:
        markdown: text of a page.
        page: whose text.
        config: of the build.
        files: of the site.
    """
    up = "../" * page.file.src_uri.count("/")
    for source, target in PAGES.items():
        markdown = markdown.replace(f"]({up}../{source})", f"]({up}{target})")
    return markdown
