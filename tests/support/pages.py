"""What is in an HTML page, for tests: `outline(page)`."""

from html.parser import HTMLParser


class Outline(HTMLParser):
    """Tags, headings, tables as lists of rows of texts, texts, images and addresses of a page."""

    VOID = ("meta", "img", "link", "br")

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.addresses, self.alts, self.ids = [], [], [], [], []
        self.headings, self.tables, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "data", "xlink:href")]
        self.alts += [value for name, value in attrs if name == "alt"]
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in self.VOID:
            self.open.append(tag)
        if tag in ("h2", "h3"):
            self.headings.append("")
        elif tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)
        if {"h2", "h3"} & set(self.open):
            self.headings[-1] += data
        elif {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data + ("" if self.open[-1] in ("td", "th", "a") else " ")


def outline(page):
    """Return the outline of a page, all of whose tags must be closed, and all rows of a table of one length."""
    parser = Outline()
    parser.feed(page)
    assert parser.open == []
    for table in parser.tables:
        assert len({len(row) for row in table}) == 1
    return parser
