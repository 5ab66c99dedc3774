"""Symptoms: from the words of a failed job's log to the checks that tell what they mean (`--symptom`).

`catalogue` holds what is known, as data (a YAML file an area); `stages` follows a job's log through its stages;
`grammar` tells of a line that nothing known matches who says it and of which system it speaks; `reading` finds what is
known in a text, `nearest` what it resembles; `answering` says, once the checks are judged, which meaning is confirmed,
which is ruled out, and which is open. That one stands on all root causes, and is imported by who has judged something:
a log is read without them.
"""

from preflight.symptoms.catalogue import Candidate, Kind, Sample, Symptom, areas, known, without_text
from preflight.symptoms.nearest import nearest
from preflight.symptoms.reading import LARGEST, Found, Reading, find, from_stream, pieces, read
from preflight.symptoms.stages import Stage

__all__ = [
    "LARGEST",
    "Candidate",
    "Found",
    "Kind",
    "Reading",
    "Sample",
    "Stage",
    "Symptom",
    "areas",
    "find",
    "from_stream",
    "known",
    "nearest",
    "pieces",
    "read",
    "without_text",
]
