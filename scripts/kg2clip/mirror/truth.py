"""The columns of mirror/truth.parquet: what the mirror knows of each file page and no stage is told."""

from __future__ import annotations

import pyarrow as pa

COPY_KINDS = ("exact", "reencoded", "cropped", "watermarked", "mirrored")
LEAK_KINDS = ("exact", "reencoded", "cropped", "mirrored", "watermarked")  # on file pages
# The test photo itself, known by its id alone; another photo of its observation; any, published again elsewhere.
OBSERVED_LEAKS = ("id", "observation", "republished")
SUBJECTS = ("photograph", "drawing", "map", "logo")
USELESS_KINDS = ("file name", "generic", "empty", "address", "licence")

TRUTH = pa.schema(
    [
        ("candidateID", pa.string()),
        ("sourceID", pa.string()),  # the file's title
        ("accessURI", pa.string()),
        ("scientificName", pa.string()),  # what the page says
        ("pictured", pa.string()),  # what the picture shows
        ("subject", pa.string()),  # one of SUBJECTS
        ("pictureID", pa.string()),  # the same for all copies of one picture
        # dead-host, not-found, too-small, odd-link, odd-picture, placeholder, or null; size-gone, moved: a dead
        # link where another lives
        ("fault", pa.string()),
        ("copyKind", pa.string()),  # one of COPY_KINDS, LEAK_KINDS or OBSERVED_LEAKS, or null
        ("copyOf", pa.string()),  # candidateID of the original, null for a leak
        ("benchmarkKey", pa.string()),  # test/s0000012 where the picture, or its observation, stands in the benchmark
        ("observationID", pa.string()),  # the same for all photos of one observation
        ("burstID", pa.string()),  # the same for all frames of one burst, the first frame first
        ("shift", pa.float64()),  # share of the sides by which the camera moved since the burst's first frame
        ("quality", pa.int32()),  # JPEG quality
        ("scale", pa.float64()),  # of the sides
        ("crop", pa.float64()),  # share of the area that was cut away
        ("watermark", pa.float64()),  # share of the area that a watermark covers
        ("textFault", pa.string()),  # useless, wrong (it names another species), or null
        ("textKind", pa.string()),  # of a useless text: one of USELESS_KINDS
        ("expectedReason", pa.string()),  # of an odd link or picture, or null
        ("sha256", pa.string()),  # of the bytes served; null where none are
    ]
)
