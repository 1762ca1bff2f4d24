"""The mark in every frame's file: an XMP packet in PNG, which says what drew the frame. Pixels stay as they are.

XMP specification part 3 (Adobe 2020), section 1.1.5: in PNG the packet is an iTXt chunk of this keyword.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

from model_server import __version__
from model_server.provenance.record import COMPOSED, MADE, SOFTWARE, DubRecord

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KEYWORD = b"XML:com.adobe.xmp\0"
_HEADER_END = len(_SIGNATURE) + 25  # behind IHDR, which is always first and 25 bytes long
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_XMP = "http://ns.adobe.com/xap/1.0/"
_IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_OWN = "urn:posedub:xmp:1#"
_PACKET = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{rdf}">'
    '<rdf:Description rdf:about="" xmlns:xmp="{xmp}" xmlns:Iptc4xmpExt="{iptc}" xmlns:posedub="{own}" {values}/>'
    '</rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
)
# Packets are some 700 bytes; what is far larger was not written here.
_LARGEST = 1 << 16


@dataclass(frozen=True)
class FrameMark:
    """What a frame's file says of itself.

    Attributes:
        digital_source_type: IPTC's term.
        software: name and version.
        weights: name of the weights.
        weights_id: their SHA-256.
        job: id of the job that drew it.
    """

    digital_source_type: str
    software: str
    weights: str
    weights_id: str
    job: str

    @property
    def by_posedub(self) -> bool:
        """Whether PoseDub drew it."""
        return self.software.startswith(SOFTWARE) and bool(self.job)


def frame_mark(dub: DubRecord) -> FrameMark:
    """What all frames of a dub say, if networks drew anything in them."""
    kind, software = COMPOSED if dub.composed else MADE, f"{SOFTWARE} {__version__}"
    return FrameMark(kind, software, dub.weights.get("name", ""), dub.weights.get("id", ""), dub.job)


def marking(mark: FrameMark) -> Callable[[bytes], bytes]:
    """Puts a mark into PNGs."""
    chunk = _chunk(_packet(mark).encode())
    return lambda png: png[:_HEADER_END] + chunk + png[_HEADER_END:]


def read_mark(png: bytes) -> FrameMark | None:
    """What a PNG says of itself; None where it says nothing that can be read."""
    for kind, content in _chunks(png):
        if kind == b"iTXt" and content.startswith(_KEYWORD):
            return _parsed(content[len(_KEYWORD) :])
    return None


def _packet(mark: FrameMark) -> str:
    values = {
        "Iptc4xmpExt:DigitalSourceType": mark.digital_source_type,
        "xmp:CreatorTool": mark.software,
        "posedub:Weights": mark.weights,
        "posedub:WeightsSHA256": mark.weights_id,
        "posedub:Job": mark.job,
    }
    written = " ".join(f"{name}={quoteattr(value)}" for name, value in values.items())
    return _PACKET.format(rdf=_RDF, xmp=_XMP, iptc=_IPTC, own=_OWN, values=written)


def _chunk(packet: bytes) -> bytes:
    # No compression, no language, no translated keyword: PNG specification, 11.3.3.4.
    content = b"iTXt" + _KEYWORD + b"\0\0\0\0" + packet
    return struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kinds and contents of the chunks before the pixels."""
    at = len(_SIGNATURE)
    while png.startswith(_SIGNATURE) and at + 12 <= len(png):
        (length,), kind = struct.unpack_from(">I", png, at), png[at + 4 : at + 8]
        if kind == b"IDAT":
            return
        yield kind, png[at + 8 : at + 8 + length]
        at += 12 + length


def _parsed(content: bytes) -> FrameMark | None:
    """Of what follows the keyword: flags, two texts, the packet."""
    packet = content[2:].split(b"\0", 2)[-1]
    if content[:1] != b"\0" or len(packet) > _LARGEST or b"<!" in packet:  # compressed; huge; with entities
        return None
    try:
        found = ElementTree.fromstring(packet.decode()).iter(f"{{{_RDF}}}Description")
    except (ElementTree.ParseError, UnicodeDecodeError):
        return None
    return _mark({name: value for one in found for name, value in one.attrib.items()})


def _mark(values: Mapping[str, str]) -> FrameMark | None:
    kind = values.get(f"{{{_IPTC}}}DigitalSourceType")
    names = (f"{{{_XMP}}}CreatorTool", *(f"{{{_OWN}}}{name}" for name in ("Weights", "WeightsSHA256", "Job")))
    return FrameMark(kind, *(values.get(name, "") for name in names)) if kind else None
