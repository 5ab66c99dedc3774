"""Symptoms: from the words of a failed job's log to the checks that tell what they mean (`--symptom`).

`catalogue` holds what is known, as data (a YAML file an area); `stages` follows a job's log through its stages;
`grammar` tells of a line that nothing known matches who says it and of which system it speaks; `reading` finds what is
known in a text, `nearest` what it resembles; `answering` says, once the checks are judged, which meaning is confirmed,
which is ruled out, and which is open.
"""

from preflight.symptoms.answering import Answer, Meaning, State, answer, before
from preflight.symptoms.catalogue import Candidate, Kind, Sample, Symptom, areas, known, without_text
from preflight.symptoms.nearest import nearest
from preflight.symptoms.reading import LARGEST, Found, Reading, find, from_stream, pieces, read
from preflight.symptoms.stages import Stage

__all__ = [
    "LARGEST",
    "Answer",
    "Candidate",
    "Found",
    "Kind",
    "Meaning",
    "Reading",
    "Sample",
    "Stage",
    "State",
    "Symptom",
    "answer",
    "areas",
    "before",
    "find",
    "from_stream",
    "known",
    "nearest",
    "pieces",
    "read",
    "without_text",
]
