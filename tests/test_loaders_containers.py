"""Files that hold files: archives and mail."""

import base64
import io
import random
import stat
import struct
import unicodedata
import zipfile
from collections.abc import Mapping
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Any

import pytest
from compound_file import compound_file

from kogemma_rag.document_loaders import (
    DocumentLoadError,
    EMLLoader,
    MSGLoader,
    TextLoader,
    ZIPLoader,
    load_file,
    parts,
)
from kogemma_rag.document_loaders.errors import PASSWORD, SkippedPart
from kogemma_rag.document_loaders.file_loader import FileLoader
from kogemma_rag.document_loaders.mail import decode_bytes

UTF8_FLAG = 0x800


def write_zip(path: Path, files: Mapping[str, bytes | str], **options: Any) -> Path:
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def zip_bytes(files: Mapping[str, bytes | str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def read(loader: FileLoader) -> list[tuple[str, str, str]]:
    """(attachment, title, text) of each document."""
    return [
        (d.metadata.get("attachment", ""), d.metadata["title"], d.page_content)
        for d in loader.lazy_load()
    ]


# ZIP


def test_zip_in_the_order_of_names_with_metadata_of_the_parts(tmp_path: Path) -> None:
    path = write_zip(
        tmp_path / "묶음.zip",
        {
            "나/표.csv": "이름,부서\n홍길동,총무\n",
            "나/": "",
            "가.md": "# 휴가\n\n연 15일",
            "__MACOSX/._가.md": "x",
            ".DS_Store": "x",
            "나/~$가.docx": "x",
            "나/.git/a.txt": "x",
        },
    )
    loader = ZIPLoader(path)
    first, second = loader.load()
    assert first.page_content == "# 휴가\n\n연 15일"
    assert first.metadata == {
        "source": f"{tmp_path}/묶음.zip",
        "media_type": "text/markdown",
        "title": "휴가",
        "headings": ["휴가"],
        "attachment": "가.md",
    }
    assert second.page_content == "| 이름 | 부서 |\n| --- | --- |\n| 홍길동 | 총무 |"
    assert second.metadata == {
        "source": f"{tmp_path}/묶음.zip",
        "media_type": "text/csv",
        "title": "표",
        "row": 2,
        "attachment": "나/표.csv",
    }
    assert loader.skipped == []
    assert load_file(path) == [first, second]


def legacy_zip(path: Path, names: list[bytes]) -> Path:
    """A zip as old programs write it: names in bytes, without the flag of UTF-8."""
    with zipfile.ZipFile(path, "w") as archive:
        for number, name in enumerate(names):
            # Longer than CP437 can be: written as ASCII of the same length, then replaced.
            archive.writestr(chr(ord("A") + number) * len(name), f"글 {number}")
    data = path.read_bytes()
    for number, name in enumerate(names):
        data = data.replace(bytes([ord("A") + number]) * len(name), name)
    path.write_bytes(data)
    return path


def test_zip_names_in_cp949_utf8_without_flag_and_nfd(tmp_path: Path) -> None:
    names = [
        "회의록/똠방.txt".encode("cp949"),
        "징.txt".encode("cp949"),  # also UTF-8, of Latin letters
        unicodedata.normalize("NFD", "서울의 맥.txt").encode("utf-8"),
        "폴더\\윈도.txt".encode("cp949"),
    ]
    path = legacy_zip(tmp_path / "옛.zip", names)
    assert read(ZIPLoader(path)) == [
        ("서울의 맥.txt", "서울의 맥", "글 2"),
        ("징.txt", "징", "글 1"),
        ("폴더/윈도.txt", "윈도", "글 3"),
        ("회의록/똠방.txt", "똠방", "글 0"),
    ]


def test_zip_names_are_labels_only(tmp_path: Path) -> None:
    path = write_zip(
        tmp_path / "밖.zip",
        {"../../밖으로.txt": "하나", "/etc/절대.txt": "둘", "C:\\윈도.txt": "셋"},
    )
    before = sorted(tmp_path.parent.rglob("*"))
    assert [part for part, _, _ in read(ZIPLoader(path))] == [
        "C:/윈도.txt",
        "etc/절대.txt",
        "밖으로.txt",
    ]
    assert sorted(tmp_path.parent.rglob("*")) == before


def test_zip_skips_what_cannot_be_read_and_goes_on(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("링크.txt")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    path = tmp_path / "여러.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(link, "/etc/hostname")
        archive.writestr("그림.png", b"\x89PNG\r\n\x1a\n....")
        archive.writestr("깨짐.docx", b"PK\x03\x04garbage")
        archive.writestr("깨짐.pdf", b"%PDF-1.7\nnothing")
        archive.writestr("모름.xyz", b"hello")
        archive.writestr("빈.txt", b"")
        archive.writestr("속.zip", zip_bytes({"a.txt": "글"}))
        archive.writestr("좋다.txt", "남은 글")
    loader = ZIPLoader(path)
    assert read(loader) == [("좋다.txt", "좋다", "남은 글")]
    reasons = dict(loader.skipped)
    assert list(reasons) == [
        "그림.png",
        "깨짐.docx",
        "깨짐.pdf",
        "링크.txt",
        "모름.xyz",
        "빈.txt",
        "속.zip",
    ]
    assert reasons["그림.png"] == "지원하지 않는 형식입니다: PNG 그림"
    assert "손상" in reasons["깨짐.docx"]
    assert "손상" in reasons["깨짐.pdf"]
    assert "링크" in reasons["링크.txt"]
    assert reasons["모름.xyz"] == "지원하지 않는 형식입니다: .xyz"
    assert reasons["빈.txt"] == "빈 파일입니다"
    assert reasons["속.zip"] == parts.ARCHIVE_IN_ARCHIVE
    assert [d.page_content for d in load_file(path)] == ["남은 글"]


def set_flag(data: bytes, flag: int) -> bytes:
    """A zip of one entry, with a general purpose flag set in both of its headers."""
    changed = bytearray(data)
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = data.index(signature) + offset
        changed[place] |= flag
    return bytes(changed)


def test_zip_with_password(tmp_path: Path) -> None:
    path = tmp_path / "잠김.zip"
    path.write_bytes(set_flag(zip_bytes({"비밀.txt": "글"}), 1))
    loader = ZIPLoader(path)
    with pytest.raises(DocumentLoadError) as caught:
        loader.load()
    assert caught.value.reason == PASSWORD
    assert loader.skipped == [SkippedPart("비밀.txt", PASSWORD)]
    with pytest.raises(DocumentLoadError, match="암호"):
        load_file(path)


def test_zip_without_anything_readable_says_why(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "사진.zip", {"1.png": b"\x89PNG\r\n\x1a\n", "2.gif": b"GIF89a"})
    with pytest.raises(DocumentLoadError) as caught:
        load_file(path)
    assert caught.value.reason == (
        "안에 든 파일 가운데 읽을 수 있는 것이 없습니다"
        "(1.png 외 1개: 지원하지 않는 형식입니다: PNG 그림)"
    )
    write_zip(tmp_path / "빈.zip", {})
    with pytest.raises(DocumentLoadError, match="글이 없습니다"):
        ZIPLoader(tmp_path / "빈.zip").load()


def test_zip_entry_that_lies_about_its_size(tmp_path: Path) -> None:
    """A header that says 10 bytes over 4 MB: no more is unpacked, and the entry is damaged."""
    data = bytearray(zip_bytes({"거짓.txt": ""}))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("거짓.txt", "가" * 2**20)
        archive.writestr("참.txt", "참말")
    data = bytearray(buffer.getvalue())
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = data.index(signature) + offset
        data[place : place + 4] = struct.pack("<I", 10)
    path = tmp_path / "거짓.zip"
    path.write_bytes(data)
    loader = ZIPLoader(path)
    assert read(loader) == [("참.txt", "참", "참말")]
    assert [part for part, _ in loader.skipped] == ["거짓.txt"]
    assert "손상" in loader.skipped[0].reason


def test_zip_limits_hold_for_all_parts_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "MAX_FILE_BYTES", 100)
    monkeypatch.setattr(
        parts._Allowance, "__init__", lambda self: self.__dict__.update(parts=4, unpacked=250)
    )
    path = write_zip(
        tmp_path / "큰.zip",
        {
            "1.txt": "a" * 100,
            "2.txt": "b" * 101,
            "3.txt": "c" * 51,
            "4.txt": "d",
            "5.txt": "e",
        },
    )
    loader = ZIPLoader(path)
    assert read(loader) == [("1.txt", "1", "a" * 100)]
    assert loader.skipped == [
        SkippedPart("2.txt", parts.TOO_LARGE),
        SkippedPart("3.txt", parts.TOO_LARGE_TOGETHER),
        SkippedPart("4.txt", parts.TOO_LARGE_TOGETHER),
        SkippedPart("5.txt", parts.TOO_MANY),
    ]
    # Again: the limits are of one reading.
    assert len(read(loader)) == 1


def test_limits_hold_across_archives_and_mail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four parts in all: the mail, its two attachments, and the first file after it."""
    monkeypatch.setattr(
        parts._Allowance,
        "__init__",
        lambda self: self.__dict__.update(parts=4, unpacked=10**6),
    )
    mail = message()
    for number in (1, 2):
        mail.add_attachment(f"붙임 {number}".encode(), "text", "plain", filename=f"{number}.txt")
    files = {"가.eml": mail.as_bytes(), "나.txt": "나", "다.txt": "다"}
    loader = ZIPLoader(write_zip(tmp_path / "묶음.zip", files))
    assert [part for part, _, _ in read(loader)] == [
        "가.eml",
        "가.eml › 1.txt",
        "가.eml › 2.txt",
        "나.txt",
    ]
    assert loader.skipped == [SkippedPart("다.txt", parts.TOO_MANY)]


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_zip_bomb_ends_at_the_limit(tmp_path: Path, method: int) -> None:
    path = tmp_path / "폭탄.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        with archive.open("폭탄.txt", "w", force_zip64=True) as part:
            for _ in range(300):
                part.write(bytes(2**20))
        archive.writestr("참.txt", "참말")
    assert path.stat().st_size < 2**20
    documents = load_file(path)
    assert [d.page_content for d in documents] == ["참말"]
    loader = ZIPLoader(path)
    loader.load()
    assert loader.skipped == [SkippedPart("폭탄.txt", parts.TOO_LARGE)]


def test_what_is_unpacked_counts_also_where_it_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        parts._Allowance, "__init__", lambda self: self.__dict__.update(parts=4, unpacked=10_000)
    )
    path = tmp_path / "상함.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("가.txt", "a" * 9000)
        archive.writestr("나.txt", "b" * 9000)
    path.write_bytes(path.read_bytes().replace(b"a" * 9000, b"a" * 8999 + b"c"))
    loader = ZIPLoader(path)
    with pytest.raises(DocumentLoadError):
        loader.load()
    assert [part for part, _ in loader.skipped] == ["가.txt", "나.txt"]
    assert loader.skipped[1].reason == parts.TOO_LARGE_TOGETHER


def test_zips_in_zips_are_not_opened(tmp_path: Path) -> None:
    data = zip_bytes({"바닥.txt": "글"})
    for _ in range(6):
        data = zip_bytes({f"{n}.zip": data for n in range(4)})
    path = tmp_path / "42.zip"
    path.write_bytes(data)
    loader = ZIPLoader(path)
    with pytest.raises(DocumentLoadError, match="압축 파일 안의 압축 파일은 읽지 않습니다"):
        loader.load()
    assert [part for part, _ in loader.skipped] == ["0.zip", "1.zip", "2.zip", "3.zip"]


def test_zip_named_as_something_else_is_found_by_its_content(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "사실은_zip.hwp", {"글.txt": "본문"})
    assert [d.metadata["attachment"] for d in load_file(path)] == ["글.txt"]


def test_mutated_zip_is_read_or_refused(tmp_path: Path) -> None:
    rng = random.Random(3)
    data = zip_bytes({f"{n}.txt": f"글 {n}" * 20 for n in range(5)})
    path = tmp_path / "손상.zip"
    for _ in range(150):
        damaged = bytearray(data)
        for _ in range(rng.randrange(1, 12)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        path.write_bytes(damaged)
        try:
            documents = ZIPLoader(path).load()
        except DocumentLoadError:
            continue
        assert all(d.page_content.strip() for d in documents)


# Mail


def message(subject: str = "휴가 안내", body: str = "휴가는 연 15일입니다.") -> EmailMessage:
    mail = EmailMessage(policy=SMTP)
    mail["Subject"] = subject
    mail["From"] = "홍길동 <hong@example.com>"
    mail["To"] = "총무과 <office@example.com>, 김철수 <kim@example.com>"
    mail["Cc"] = "lee@example.com"
    mail["Date"] = "Wed, 01 Jul 2026 09:30:00 +0900"
    mail.set_content(body)
    return mail


HEADERS = """제목: 휴가 안내
보낸 사람: 홍길동 <hong@example.com>
받는 사람: 총무과 <office@example.com>, 김철수 <kim@example.com>
참조: lee@example.com
날짜: 2026-07-01 09:30"""


def test_mail(tmp_path: Path) -> None:
    path = tmp_path / "안내.eml"
    mail = message()
    mail.add_alternative("<p>다른 <b>꼴</b></p>", subtype="html")
    mail.add_attachment("첨부한 글".encode("cp949"), "text", "plain", filename="붙임 1.txt")
    mail.add_attachment(b"\x89PNG\r\n", "image", "png", filename="도장.png")
    path.write_bytes(mail.as_bytes())
    loader = EMLLoader(path)
    body, attachment = loader.load()
    assert body.page_content == f"{HEADERS}\n\n휴가는 연 15일입니다."
    assert body.metadata == {
        "source": f"{tmp_path}/안내.eml",
        "media_type": "message/rfc822",
        "title": "휴가 안내",
        "author": "홍길동",
        "created": "2026-07-01T09:30:00+09:00",
    }
    assert attachment.page_content == "첨부한 글"
    assert attachment.metadata == {
        "source": f"{tmp_path}/안내.eml",
        "media_type": "text/plain",
        "title": "붙임 1",
        "attachment": "붙임 1.txt",
    }
    assert loader.skipped == [SkippedPart("도장.png", "지원하지 않는 형식입니다: PNG 그림")]
    assert load_file(path) == [body, attachment]


def test_mail_of_html_alone(tmp_path: Path) -> None:
    mail = message()
    mail.set_content(
        "<html><head><style>p{}</style></head><body><h2>공지</h2><p>첫 줄<br>둘째 줄</p>"
        "<table><tr><th>구분</th><th>일수</th></tr><tr><td>연차</td><td>15</td></tr></table>"
        "<p style='display:none'>숨김</p><img src='http://127.0.0.1:9/x'></body></html>",
        subtype="html",
    )
    mail.add_related(b"\x89PNG", "image", "png", cid="<a@b>")
    path = tmp_path / "공지.eml"
    path.write_bytes(mail.as_bytes())
    loader = EMLLoader(path)
    (document,) = loader.load()
    assert document.page_content == (
        f"{HEADERS}\n\n## 공지\n\n첫 줄\n둘째 줄\n\n| 구분 | 일수 |\n| --- | --- |\n| 연차 | 15 |"
    )
    assert loader.skipped == []


RAW = """Subject: =?ks_c_5601-1987?B?{subject}?=
From: "=?EUC-KR?B?{name}?=" <a@b.kr>
Date: Wed, 1 Jul 2026 09:30:00 +0900
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=x

--x
Content-Type: text/plain; charset="{charset}"
Content-Transfer-Encoding: 8bit

{body}
--x
Content-Type: text/plain; charset=utf-8; name="=?euc-kr?B?{file}?="
Content-Disposition: attachment

하나
--x
Content-Type: text/plain
Content-Disposition: attachment; filename*0*=euc-kr''%B0%FC; filename*1*=%B8%B0.txt

둘
--x
Content-Type: text/plain
Content-Disposition: attachment; filename="bare {bare}.txt"

셋
--x--
"""


def encoded(text: str) -> str:
    return base64.b64encode(text.encode("cp949")).decode()


@pytest.mark.parametrize(
    "charset", ["ks_c_5601-1987", "euc-kr", "no-such-charset", "us-ascii", "utf-8", "zlib_codec"]
)
def test_mail_in_korean_charsets(tmp_path: Path, charset: str) -> None:
    """Whatever is declared, CP949 with the syllables that EUC-KR has not."""
    raw = RAW.format(
        subject=encoded("똠방각하 펲시"),
        name=encoded("홍똠"),
        file=encoded("똠 보고서.txt"),
        charset=charset,
        body="본문: 똠방각하",
        bare="똠",
    )
    path = tmp_path / "옛.eml"
    head, tail = raw.split("하나")
    path.write_bytes(head.encode("cp949") + "하나".encode() + tail.encode("cp949"))
    first, *rest = read(EMLLoader(path))
    assert first == (
        "",
        "똠방각하 펲시",
        "제목: 똠방각하 펲시\n보낸 사람: 홍똠 <a@b.kr>\n날짜: 2026-07-01 09:30\n\n본문: 똠방각하",
    )
    assert rest == [
        ("똠 보고서.txt", "똠 보고서", "하나"),
        ("관린.txt", "관린", "둘"),
        ("bare 똠.txt", "bare 똠", "셋"),
    ]


@pytest.mark.parametrize("charset", ["EUC-KR", "ks_c_5601-1987", "ms949"])
def test_declared_korean_is_cp949_even_where_it_does_not_look_korean(charset: str) -> None:
    text = "똠ΑΒΓΔΕ αβγδ"
    assert decode_bytes(text.encode("cp949"), charset) == text


def test_mail_header_whose_characters_are_cut_between_words(tmp_path: Path) -> None:
    data = "가나다라".encode()
    words = [base64.b64encode(data[:4]).decode(), base64.b64encode(data[4:]).decode()]
    path = tmp_path / "잘림.eml"
    path.write_bytes(
        "Subject: Re: =?utf-8?B?{}?=\r\n =?utf-8?B?{}?= =?bad\r\n\r\n글".format(*words).encode()
    )
    assert EMLLoader(path).load()[0].metadata["title"] == "Re: 가나다라 =?bad"


def test_mail_whose_headers_are_bare_bytes(tmp_path: Path) -> None:
    path = tmp_path / "맨.eml"
    path.write_bytes("Subject: 회의 안내\r\nDate: 어제\r\n\r\n오후 세 시".encode("cp949"))
    assert read(EMLLoader(path)) == [("", "회의 안내", "제목: 회의 안내\n날짜: 어제\n\n오후 세 시")]


def test_mail_forwarded_in_mail_and_archives_attached(tmp_path: Path) -> None:
    """To the third level; and no archive in an archive, by whatever way."""
    deepest = message("넷째", "네 겹")
    for subject in ("셋째", "둘째", "첫째"):
        outer = message(subject, f"{subject} 글")
        outer.add_attachment(deepest)
        deepest = outer
    top = message("맨 위", "맨 위 글")
    top.add_attachment(deepest)
    inner = message("묶음 속", "속 글")
    inner.add_attachment(zip_bytes({"x.txt": "x"}), "application", "zip", filename="또.zip")
    files = {"속.eml": inner.as_bytes(), "한글.txt": "묶음 글"}
    top.add_attachment(zip_bytes(files), "application", "zip", filename="묶음.zip")
    path = tmp_path / "위.eml"
    path.write_bytes(top.as_bytes())
    loader = EMLLoader(path)
    assert [(part, title) for part, title, _ in read(loader)] == [
        ("", "맨 위"),
        ("첫째.eml", "첫째"),
        ("첫째.eml › 둘째.eml", "둘째"),
        ("첫째.eml › 둘째.eml › 셋째.eml", "셋째"),
        ("묶음.zip › 속.eml", "묶음 속"),
        ("묶음.zip › 한글.txt", "한글"),
    ]
    assert loader.skipped == [
        SkippedPart("첫째.eml › 둘째.eml › 셋째.eml › 넷째.eml", parts.TOO_DEEP),
        SkippedPart("묶음.zip › 속.eml › 또.zip", parts.ARCHIVE_IN_ARCHIVE),
    ]


def test_mail_nested_past_recursion(tmp_path: Path) -> None:
    path = tmp_path / "깊다.eml"
    lines = ["Subject: 깊다"]
    for number in range(5_000):
        lines += [f"Content-Type: multipart/mixed; boundary=b{number}", "", f"--b{number}"]
    path.write_text("\r\n".join([*lines, "", "바닥"]), encoding="utf-8")
    with pytest.raises(DocumentLoadError):
        load_file(path)


def test_mail_whose_sender_is_hostile(tmp_path: Path) -> None:
    path = tmp_path / "a.eml"
    path.write_bytes(b"From: =?utf-7?q?+2AA-?=a <a@b.c>\n\nhello")
    (document,) = EMLLoader(path).load()
    assert document.metadata["author"] == "a"  # no lone surrogate
    path.write_bytes(b"From: " + b"(" * 5_000 + b"a@b.c\n\nhello")
    (document,) = EMLLoader(path).load()
    assert document.page_content.endswith("hello")


def test_text_that_looks_like_mail_stays_text(tmp_path: Path) -> None:
    path = tmp_path / "메일.txt"
    path.write_text("Subject: a\nFrom: b\n\n글", encoding="utf-8")
    (document,) = load_file(path)
    assert document == TextLoader(path).load()[0]
    assert document.page_content == "Subject: a\nFrom: b\n\n글"


# Outlook

Streams = dict[str, bytes]  # by their path in the compound file


def properties(header: int, fixed: Mapping[int, tuple[int, bytes]] | None = None) -> bytes:
    """A stream of properties: number -> (type, value of 8 bytes)."""
    rows = (
        struct.pack("<HHI8s", kind, number, 6, value)
        for number, (kind, value) in (fixed or {}).items()
    )
    return b"\0" * header + b"".join(rows)


def strings(values: Mapping[int, str]) -> dict[str, bytes]:
    return {f"__substg1.0_{n:04X}001F": text.encode("utf-16-le") for n, text in values.items()}


def recipient(name: str, address: str, kind: int) -> Streams:
    fixed = {0x0C15: (3, struct.pack("<Ixxxx", kind))}
    values = strings({0x3001: name, 0x39FE: address})
    return {"__properties_version1.0": properties(8, fixed), **values}


def attachment(name: str, data: bytes) -> Streams:
    return {
        "__properties_version1.0": properties(8),
        "__substg1.0_37010102": data,
        **strings({0x3707: name}),
    }


def within(storage: str, streams: Streams) -> Streams:
    return {f"{storage}/{name}": data for name, data in streams.items()}


def attached(number: int, streams: Streams) -> Streams:
    return within(f"__attach_version1.0_#{number:08X}", streams)


# 2026-07-01 00:30 UTC in units of 100 nanoseconds since 1601.
SENT = {0x0039: (0x40, struct.pack("<Q", 134_273_394_000_000_000))}


def outlook_message(header: int = 32, subject: str = "분기 보고") -> Streams:
    return {
        "__properties_version1.0": properties(header, SENT),
        **strings({0x0037: subject, 0x1000: "보고서를 붙입니다.\r\n끝", 0x0C1A: "홍길동"}),
        **strings({0x5D01: "hong@example.com"}),
        **within("__recip_version1.0_#00000000", recipient("김철수", "kim@example.com", 1)),
        **within("__recip_version1.0_#00000001", recipient("이영희", "lee@example.com", 2)),
    }


def test_outlook_message(tmp_path: Path) -> None:
    inner = {
        **outlook_message(24, "속 메일"),
        **attached(0, attachment("속.txt", "속 글".encode())),
    }
    embedded = {
        "__properties_version1.0": properties(8),
        **strings({0x3001: "전달"}),
        **within("__substg1.0_3701000D", inner),
    }
    root = {
        **outlook_message(),
        **attached(0, attachment("실적.csv", "월,액\n7,10\n".encode("cp949"))),
        **attached(1, attachment("긴.txt", ("가" * 3000).encode())),
        **attached(2, attachment("그림.png", b"\x89PNG\r\n")),
        **attached(3, embedded),
    }
    path = tmp_path / "보고.msg"
    path.write_bytes(compound_file(root))
    loader = MSGLoader(path)
    first, *rest = loader.load()
    assert first.page_content == (
        "제목: 분기 보고\n보낸 사람: 홍길동 <hong@example.com>\n"
        "받는 사람: 김철수 <kim@example.com>\n"
        "참조: 이영희 <lee@example.com>\n날짜: 2026-07-01 00:30 UTC\n\n보고서를 붙입니다.\n끝"
    )
    assert first.metadata == {
        "source": f"{tmp_path}/보고.msg",
        "media_type": "application/vnd.ms-outlook",
        "title": "분기 보고",
        "author": "홍길동",
        "created": "2026-07-01T00:30:00+00:00",
    }
    assert [(d.metadata["attachment"], d.metadata["title"]) for d in rest] == [
        ("실적.csv", "실적"),
        ("긴.txt", "긴"),
        ("전달", "속 메일"),
        ("전달 › 속.txt", "속"),
    ]
    assert rest[0].page_content == "| 월 | 액 |\n| --- | --- |\n| 7 | 10 |"
    assert rest[1].page_content == "가" * 3000
    assert rest[2].metadata["created"] == "2026-07-01T00:30:00+00:00"
    assert rest[3].page_content == "속 글"
    assert loader.skipped == [SkippedPart("그림.png", "지원하지 않는 형식입니다: PNG 그림")]
    assert load_file(path.rename(tmp_path / "이름만.hwp"))[0].page_content == first.page_content


def test_outlook_message_of_old_programs_in_cp949_and_html(tmp_path: Path) -> None:
    """Strings of one byte, with and without their code page; the body as HTML only."""
    for fixed in ({}, {0x3FFD: (3, struct.pack("<Ixxxx", 949))}):
        root = {
            "__properties_version1.0": properties(32, fixed),
            "__substg1.0_0037001E": "똠방각하".encode("cp949"),
            "__substg1.0_10130102": "<p>안녕 <b>똠</b></p>".encode("cp949"),
        }
        path = tmp_path / "옛.msg"
        path.write_bytes(compound_file(root))
        assert read(MSGLoader(path)) == [("", "똠방각하", "제목: 똠방각하\n\n안녕 똠")]


def test_outlook_message_of_rtf_alone_says_so(tmp_path: Path) -> None:
    root = {
        "__properties_version1.0": properties(32),
        **strings({0x0037: "제목만"}),
        "__substg1.0_10090102": b"{}",
    }
    path = tmp_path / "서식.msg"
    path.write_bytes(compound_file(root))
    loader = MSGLoader(path)
    assert read(loader) == [("", "제목만", "제목: 제목만")]
    assert loader.skipped[0].part == "본문"


def test_mutated_outlook_message_is_read_or_refused(tmp_path: Path) -> None:
    rng = random.Random(5)
    root = {**outlook_message(), **attached(0, attachment("속.txt", b"x" * 5000))}
    data = compound_file(root)
    path = tmp_path / "손상.msg"
    for _ in range(100):
        damaged = bytearray(data)
        for _ in range(rng.randrange(1, 30)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        path.write_bytes(damaged)
        try:
            MSGLoader(path).load()
        except DocumentLoadError:
            continue
