"""Links of the documents: every file and every heading they point at exists."""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")])
_LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)|<(https?://[^>\s]+)>")


def prose(text):
    """A document without its code."""
    text = re.sub(r"^(```+|~~~+).*?^\1\s*$", "", text, flags=re.M | re.S)
    return re.sub(r"`[^`\n]+`", "", text)


def links(text):
    return [inline or automatic for inline, automatic in _LINK.findall(prose(text))]


def anchors(text):
    """Of the headings, as GitHub makes them."""
    text = re.sub(r"^(```+|~~~+).*?^\1\s*$", "", text, flags=re.M | re.S)
    found = set()
    for heading in re.findall(r"^#{1,6} +(.+?)\s*#*$", text, re.M):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        number = 0
        while (unique := f"{anchor}-{number}" if number else anchor) in found:
            number += 1
        found.add(unique)
    return found


def problem(document, link):
    """What is wrong with a link, or None."""
    parts = urlsplit(link)
    if parts.scheme:
        known = parts.scheme == "https" and re.fullmatch(r"[a-z0-9.-]+\.[a-z]{2,}", parts.netloc)
        return None if known else "not an https address"
    target = document if not parts.path else document.parent / unquote(parts.path)
    if not target.exists():
        return "no such file"
    if REPOSITORY not in target.resolve().parents and not document.is_relative_to(target.parent):
        return "outside of the repository"
    if parts.fragment and parts.fragment not in anchors(target.read_text()):
        return "no such heading"
    return None


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document):
    wrong = {link: problem(document, link) for link in links(document.read_text())}
    assert {link: what for link, what in wrong.items() if what} == {}


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("other.md", None),
        ("other.md#two-words-and-code", None),
        ("other.md#two-words-and-code-1", None),
        ("#own", None),
        ("https://example.org/a#b", None),
        ("http://example.org", "not an https address"),
        ("https://nowhere", "not an https address"),
        ("missing.md", "no such file"),
        ("other.md#three", "no such heading"),
        ("other.md#comment", "no such heading"),
    ],
)
def test_wrong_links_are_found(tmp_path, link, expected):
    document = tmp_path / "document.md"
    text = f"# Own\n\n[link]({link}) `[code](nowhere.md)`\n\n```\n[block](nowhere.md)\n```\n"
    document.write_text(text)
    (tmp_path / "other.md").write_text(
        "# Two words, and `code`\n\n```\n# comment\n```\n\n## Two words and code\n"
    )
    assert links(text) == [link]
    assert problem(document, link) == expected


def test_documents_are_reached_from_the_readme():
    """Every one within some steps."""
    reached, waiting = set(), [REPOSITORY / "README.md"]
    while waiting:
        document = waiting.pop()
        if document in reached:
            continue
        reached.add(document)
        for link in links(document.read_text()):
            target = (document.parent / urlsplit(link).path).resolve()
            if not urlsplit(link).scheme and target.suffix == ".md":
                waiting.append(target)
    missing = set(DOCUMENTS) - reached
    assert {path.name for path in missing} == set()
