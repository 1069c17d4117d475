"""PPTX in, slides out. Macros, links, comments and pictures are ignored."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar
from zipfile import BadZipFile

from kogemma_rag.document_loaders.charts import chart_text
from kogemma_rag.document_loaders.core_properties import core_properties
from kogemma_rag.document_loaders.equations import equation_text
from kogemma_rag.document_loaders.errors import DAMAGED, DocumentLoadError
from kogemma_rag.document_loaders.file_loader import FileLoader
from kogemma_rag.document_loaders.sections import markdown_table

if TYPE_CHECKING:
    from lxml.etree import _Element
    from pptx.slide import Slide

_A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_A14 = "{http://schemas.microsoft.com/office/drawing/2010/main}"
_MC = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
_DIAGRAM = "{http://schemas.openxmlformats.org/drawingml/2006/diagram}"
_RELATIONS = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"


class PPTXLoader(FileLoader):
    """PowerPoint: a document for each slide, title first, the speaker's notes last.

    Hidden slides are among them; dates, footers and slide numbers are not. Charts are tables.
    """

    media_types: ClassVar[dict[str, str]] = {
        ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation"
    }

    def _read(self) -> Iterator[tuple[str, dict[str, Any]]]:
        from pptx.exc import PackageNotFoundError
        from pptx.package import Package

        try:
            # Not pptx.Presentation, which refuses shows (.ppsx).
            presentation = Package.open(str(self.path)).main_document_part.presentation
            slides = list(presentation.slides)
            properties = core_properties(self.path)
            title = _slide_title(slides[0]) if slides else ""
            for number, slide in enumerate(slides, 1):
                yield _slide_text(slide), {"title": title, **properties, "slide": number}
        except (
            *(PackageNotFoundError, SyntaxError, BadZipFile, KeyError, ValueError),
            *(AttributeError, RecursionError),  # parts of another kind than they should be
        ) as error:
            raise DocumentLoadError(self.path, DAMAGED) from error


def _slide_title(slide: "Slide") -> str:
    shape = slide.shapes.title
    return "" if shape is None else " ".join(_frame_text(shape.text_frame._txBody).split())


def _slide_text(slide: "Slide") -> str:
    _choose_alternatives(slide.shapes._spTree)
    title = _slide_title(slide)
    parts = [f"# {title}"] if title else []
    title_id = slide.shapes.title.shape_id if slide.shapes.title is not None else None
    for shape in slide.shapes:
        if shape.shape_id != title_id:
            parts += _shape_texts(shape, slide)
    if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
        notes = _frame_text(slide.notes_slide.notes_text_frame._txBody)
        parts.append(f"발표자 메모: {notes}" if notes else "")
    return "\n\n".join(filter(None, parts))


def _choose_alternatives(tree: "_Element") -> None:
    """Put what newer programs show in the place of the choice, which python-pptx passes over."""
    for alternatives in list(tree.iter(f"{_MC}AlternateContent")):
        choice = alternatives.find(f"{_MC}Choice")
        parent = alternatives.getparent()
        place = parent.index(alternatives)
        parent.remove(alternatives)
        for child in reversed(() if choice is None else list(choice)):
            parent.insert(place, child)


def _shape_texts(shape: Any, slide: "Slide") -> Iterator[str]:
    for inner in getattr(shape, "shapes", ()):  # of a group
        yield from _shape_texts(inner, slide)
    if shape.has_text_frame and not _is_furniture(shape):
        yield _frame_text(shape.text_frame._txBody)
    elif getattr(shape, "has_table", False):
        yield markdown_table(
            [
                [
                    "" if cell.is_spanned else _frame_text(cell.text_frame._txBody)
                    for cell in row.cells
                ]
                for row in shape.table.rows
            ]
        )
    elif getattr(shape, "has_chart", False):
        yield chart_text(shape.chart_part._element)
    else:
        for ids in shape._element.iter(f"{_DIAGRAM}relIds"):
            yield _diagram_text(slide.part.related_part(ids.get(f"{_RELATIONS}dm", "")).blob)


def _is_furniture(shape: Any) -> bool:
    """Whether a shape holds what every slide repeats: a date, a footer, a number."""
    from pptx.enum.shapes import PP_PLACEHOLDER

    return shape.is_placeholder and shape.placeholder_format.type in (
        PP_PLACEHOLDER.DATE,
        PP_PLACEHOLDER.FOOTER,
        PP_PLACEHOLDER.HEADER,
        PP_PLACEHOLDER.SLIDE_NUMBER,
    )


def _frame_text(body: "_Element") -> str:
    """Paragraphs as lines, without fields for dates and numbers, with equations."""
    lines = [_paragraph_text(paragraph) for paragraph in body.iterchildren(f"{_A}p")]
    return "\n".join(lines).strip()


def _paragraph_text(paragraph: "_Element") -> str:
    parts = []
    for child in paragraph:
        if child.tag == f"{_A}br":
            parts.append("\n")
        elif child.tag == f"{_A14}m":
            parts.append(equation_text(child))
        elif child.tag == f"{_A}r" or (
            child.tag == f"{_A}fld"
            and not child.get("type", "").startswith(("slidenum", "datetime"))
        ):
            parts.append(child.findtext(f"{_A}t") or "")
    return "".join(parts).replace("\v", "\n")


def _diagram_text(data: bytes) -> str:
    """The words of a SmartArt drawing, a line for each of its boxes."""
    from pptx.oxml import parse_xml

    texts = (_frame_text(text) for text in parse_xml(data).iter(f"{_DIAGRAM}t"))
    return "\n".join(filter(None, texts))
