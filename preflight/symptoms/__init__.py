"""Symptoms: from the words of a failed job's log to the checks that tell what they mean (`--symptom`).

`catalogue` holds what is known, as data (symptoms.yaml); `reading` finds it in a text; `answering` says, once the
checks are judged, which meaning is confirmed, which is ruled out, and which is open.
"""

from preflight.symptoms.answering import Answer, Meaning, State, answer, before
from preflight.symptoms.catalogue import Candidate, Sample, Symptom, known, without_text
from preflight.symptoms.reading import LARGEST, Found, find, from_stream

__all__ = [
    "LARGEST",
    "Answer",
    "Candidate",
    "Found",
    "Meaning",
    "Sample",
    "State",
    "Symptom",
    "answer",
    "before",
    "find",
    "from_stream",
    "known",
    "without_text",
]
